"""Which blobs ought to be there, who needs them, and where their bytes may be had."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_core.domain.blob import Blob
from entrepot_core.domain.unit import ContentType, content_name
from entrepot_core.store import sources
from entrepot_core.store.blob_references import REFERENCES
from entrepot_core.store.plan_items import BLOB_IS_PLANNED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from entrepot_core.store.database import Cursor, Database
    from entrepot_core.store.sources import SourcedFile

__all__ = ["absent", "count", "is_made_anew", "needing_units", "recorded", "source"]

_PAGE = 1_000

_IN_REPOSITORIES = """(%(repositories)s::bigint[] = '{}' OR EXISTS (
    SELECT FROM artifact a JOIN member m USING (content_id)
     WHERE a.digest = b.digest AND m.repository_id = ANY(%(repositories)s::bigint[])))"""


def count(
    database: Database, repository_ids: Sequence[int], plan: str | None = None
) -> tuple[int, int]:
    """How many blobs are recorded as stored, and their length together; of a plan its own."""
    ((blobs, size),) = database.fetch(
        "SELECT count(*), coalesce(sum(b.size_bytes), 0)::bigint FROM blob b"
        f" WHERE {_IN_REPOSITORIES} AND {BLOB_IS_PLANNED}",
        {"repositories": list(repository_ids), "plan": plan},
    )
    return blobs, size


def recorded(
    database: Database, repository_ids: Sequence[int], plan: str | None = None
) -> Iterator[Blob]:
    """Blobs that are recorded as stored, in order of digest; of all repositories without any.

    Of an approved plan only those that it names; so does `absent`.
    """
    query = (
        f"SELECT b.digest, b.size_bytes FROM blob b WHERE b.digest > %(last)s"
        f" AND {_IN_REPOSITORIES} AND {BLOB_IS_PLANNED} ORDER BY b.digest LIMIT %(most)s"
    )
    yield from _pages(database, query, repository_ids, plan)


def absent(
    database: Database, repository_ids: Sequence[int], plan: str | None = None
) -> Iterator[Blob]:
    """Blobs that are not recorded and that a version needs here; a size of -1 is not known.

    That is: files of units without any source, and those that a remote with the policy immediate
    has.
    """
    yield from _pages(database, _ABSENT, repository_ids, plan)


def source(cursor: Cursor, digest: bytes) -> SourcedFile | None:
    """A file with this digest that has sources; None if there is none."""
    cursor.execute(
        "SELECT a.content_id, a.relative_path FROM artifact a WHERE a.digest = %s"
        " AND EXISTS (SELECT FROM artifact_source s JOIN remote USING (remote_id)"
        "  WHERE s.content_id = a.content_id AND s.relative_path = a.relative_path)"
        " ORDER BY 1, 2 LIMIT 1",
        (digest,),
    )
    row = cursor.fetchone()
    return None if row is None else sources.find(cursor, *row)


def needing_units(cursor: Cursor, digest: bytes, most: int) -> list[tuple[str, str]]:
    """Names of units that have a file with this digest, and its path in each."""
    cursor.execute(
        "SELECT t.type_id, t.plugin, t.name, t.collection, c.key_digest, a.relative_path"
        " FROM artifact a JOIN content c USING (content_id) JOIN content_type t USING (type_id)"
        " WHERE a.digest = %s ORDER BY c.content_id LIMIT %s",
        (digest, most),
    )
    return [
        (content_name(ContentType(type_id, plugin, name, collection), bytes(key)), path)
        for type_id, plugin, name, collection, key, path in cursor
    ]


def is_made_anew(cursor: Cursor, digest: bytes) -> bool:
    """Whether nothing names a blob but what core makes or fetches again by itself."""
    lasting = [one for one in REFERENCES if one[0] not in ("version_index", "fetch_cache")]
    cursor.execute(
        " UNION ALL ".join(
            f"(SELECT 1 FROM {table} WHERE {column} = %(digest)s LIMIT 1)"
            for table, column in lasting
        ),
        {"digest": digest},
    )
    return cursor.fetchone() is None


def _pages(
    database: Database, query: str, repository_ids: Sequence[int], plan: str | None
) -> Iterator[Blob]:
    last = b""
    wanted = {"most": _PAGE, "repositories": list(repository_ids), "plan": plan}
    while True:
        rows = database.fetch(query, {**wanted, "last": last})
        for digest, size in rows:
            last = bytes(digest)
            yield Blob(last, size)
        if len(rows) < _PAGE:
            return


_SOURCE = """SELECT FROM artifact_source s JOIN remote r USING (remote_id)
    WHERE s.content_id = b.content_id AND s.relative_path = b.relative_path"""

_ABSENT = f"""
SELECT b.digest, coalesce(max(b.size_bytes), -1)
  FROM artifact b
 WHERE b.digest > %(last)s
   AND NOT EXISTS (SELECT FROM blob k WHERE k.digest = b.digest)
   AND EXISTS (SELECT FROM member m WHERE m.content_id = b.content_id)
   AND (NOT EXISTS ({_SOURCE}) OR EXISTS ({_SOURCE} AND r.policy = 'immediate'))
   AND {_IN_REPOSITORIES} AND {BLOB_IS_PLANNED}
 GROUP BY b.digest ORDER BY b.digest LIMIT %(most)s
"""
