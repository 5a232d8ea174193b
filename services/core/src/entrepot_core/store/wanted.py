"""Files that an attempt stages and that must be fetched before its commit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from entrepot_core.domain.blob import Blob
    from entrepot_core.store.database import Cursor

__all__ = ["RemoteSource", "WantedFile", "find_wanted", "identify", "new_calls"]


@dataclass(frozen=True, slots=True)
class RemoteSource:
    """A URL, and the remote it belongs to, with the revision that remote is at."""

    url: str
    remote_id: int
    revision: int


@dataclass(frozen=True, slots=True)
class WantedFile:
    """A file of a staged unit whose bytes are not here; `other_digests` are hexadecimal."""

    content_id: int
    relative_path: str
    sha256: bytes | None
    size_bytes: int | None
    other_digests: dict[str, str]
    sources: tuple[RemoteSource, ...]


def new_calls(
    cursor: Cursor, workspace_id: int, seen: Collection[int], limit: int
) -> list[tuple[int, list[int]]]:
    """The next staging calls that are not among those seen, each with the units it staged.

    None while no remote lent to the attempt is to be fetched from immediately.
    """
    cursor.execute(_NEW_CALLS, {"workspace": workspace_id, "seen": list(seen), "limit": limit})
    return cursor.fetchall()


def find_wanted(cursor: Cursor, workspace_id: int, content_ids: Sequence[int]) -> list[WantedFile]:
    """Those files of the units that must be fetched now.

    That is: the unit is still staged to be added, a remote lent to the attempt has them, it is to
    be fetched from immediately, and their bytes are not here.
    """
    if not content_ids:
        return []
    # As when they were staged: whatever the statistics say, each row is looked up by an index.
    cursor.execute(
        "SELECT set_config('enable_hashjoin', 'off', true),"
        " set_config('enable_mergejoin', 'off', true)"
    )
    cursor.execute(_WANTED, {"workspace": workspace_id, "units": sorted(set(content_ids))})
    return [
        WantedFile(
            content_id,
            path,
            None if digest is None else bytes(digest),
            size,
            others or {},
            tuple(RemoteSource(*source) for source in sources),
        )
        for content_id, path, digest, size, others, sources in cursor
    ]


def identify(cursor: Cursor, found: Sequence[tuple[int, str, Blob]]) -> None:
    """Says which blobs the files of units are, by unit and path, where that was not known."""
    rows = sorted(found, key=lambda row: row[:2])
    cursor.execute(
        "WITH found AS (SELECT * FROM unnest(%s::bigint[], %s::text[], %s::bytea[], %s::bigint[])"
        "   AS t(content_id, relative_path, digest, size_bytes)),"
        " unknown AS (SELECT a.content_id, a.relative_path, f.digest, f.size_bytes"
        "   FROM artifact a JOIN found f USING (content_id, relative_path)"
        "   WHERE a.digest IS NULL OR (a.size_bytes IS NULL AND a.digest = f.digest)"
        "   ORDER BY a.content_id, a.relative_path FOR UPDATE OF a)"
        " UPDATE artifact a SET digest = u.digest, size_bytes = u.size_bytes FROM unknown u"
        " WHERE a.content_id = u.content_id AND a.relative_path = u.relative_path",
        (
            [row[0] for row in rows],
            [row[1] for row in rows],
            [row[2].digest for row in rows],
            [row[2].size_bytes for row in rows],
        ),
    )


_NEW_CALLS = """
SELECT sequence, content_ids
  FROM stage_call
 WHERE workspace_id = %(workspace)s AND NOT sequence = ANY(%(seen)s::bigint[])
   AND EXISTS (SELECT FROM lent_remote l JOIN remote r USING (remote_id)
                WHERE l.workspace_id = %(workspace)s AND r.policy = 'immediate')
 ORDER BY sequence LIMIT %(limit)s
"""

_WANTED = """
SELECT a.content_id, a.relative_path, a.digest, a.size_bytes, a.other_digests, s.sources
  FROM unnest(%(units)s::bigint[]) AS u(content_id)
  -- LIMIT, or all that is staged would be gone through for each page of it.
 CROSS JOIN LATERAL (
   SELECT FROM staged
    WHERE workspace_id = %(workspace)s AND content_id = u.content_id AND NOT removed LIMIT 1) still
  JOIN artifact a ON a.content_id = u.content_id
  CROSS JOIN LATERAL (
    SELECT json_agg(json_build_array(x.url, r.remote_id, r.revision)
                    ORDER BY x.position, r.remote_id) AS sources,
           bool_or(r.policy = 'immediate') AS is_immediate
      FROM artifact_source x
      JOIN remote r USING (remote_id)
     WHERE x.content_id = a.content_id AND x.relative_path = a.relative_path
       AND EXISTS (SELECT FROM lent_remote l
                    WHERE l.workspace_id = %(workspace)s AND l.remote_id = x.remote_id)) s
 WHERE NOT EXISTS (SELECT FROM blob b WHERE b.digest = a.digest AND b.state = 'live')
   AND s.is_immediate
"""
