"""Index files of versions: whether there are any, what is in them, and where they are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_core.domain.blob import Blob

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from entrepot_core.store.database import Cursor, Database
    from entrepot_core.store.serving import ContentSet

__all__ = ["find", "keep", "lines", "types_present"]

_PAGE = 5_000


def find(cursor: Cursor, where: ContentSet, path: str) -> tuple[Blob, datetime] | None:
    """The index that was generated at a path, and when; None if it was not yet."""
    cursor.execute(
        "SELECT i.digest, i.size_bytes, i.created_at FROM version_index i"
        " JOIN blob b USING (digest)"
        " WHERE i.repository_id = %s AND i.number = %s AND i.path = %s",
        (where.repository_id, where.number, path),
    )
    row = cursor.fetchone()
    return None if row is None else (Blob(bytes(row[0]), row[1]), row[2])


def keep(cursor: Cursor, where: ContentSet, path: str, blob: Blob) -> None:
    """Keeps a generated index, if its version is still there."""
    cursor.execute(
        "INSERT INTO version_index (repository_id, number, path, digest, size_bytes)"
        " SELECT repository_id, number, %s, %s, %s FROM version"
        " WHERE repository_id = %s AND number = %s FOR KEY SHARE"
        " ON CONFLICT (repository_id, number, path) DO UPDATE"
        " SET digest = EXCLUDED.digest, size_bytes = EXCLUDED.size_bytes",
        (path, blob.digest, blob.size_bytes, where.repository_id, where.number),
    )


def types_present(cursor: Cursor, where: ContentSet, names: Sequence[str]) -> set[str]:
    """Those of the content types of which the version has a unit."""
    cursor.execute(
        # Ordered as the index with the type is, or an absent type costs a walk over all members.
        "SELECT t.name FROM content_type t CROSS JOIN LATERAL ("
        " SELECT FROM member m WHERE m.repository_id = %s AND m.type_id = t.type_id"
        " AND m.added_in <= %s AND m.removed_in > %s ORDER BY m.repo_key, m.removed_in LIMIT 1) u"
        " WHERE t.name = ANY(%s::text[])",
        (where.repository_id, where.number, where.number, list(names)),
    )
    return {row[0] for row in cursor}


def lines(
    database: Database, where: ContentSet, type_name: str
) -> Iterator[list[tuple[str, bytes, int]]]:
    """Path, digest and size of the files of all units of a type, in order of path, in batches.

    Files of which the digest or the size is not known are left out.
    """
    last = ""
    while True:
        with database.transaction() as cursor:
            cursor.execute(
                _LINES,
                {
                    "repository": where.repository_id,
                    "number": where.number,
                    "type": type_name,
                    "last": last,
                    "limit": _PAGE,
                },
            )
            rows = cursor.fetchall()
        if rows:
            yield [
                (path, bytes(digest), size)
                for path, digest, size in rows
                if digest is not None and size is not None
            ]
            last = rows[-1][0]
        if len(rows) < _PAGE:
            return


_LINES = """
SELECT p.path, a.digest, coalesce(a.size_bytes, b.size_bytes)
  FROM ((SELECT path, content_id FROM member
          WHERE repository_id = %(repository)s AND path > %(last)s
            AND removed_in > %(number)s AND added_in <= %(number)s
            AND type_id = (SELECT type_id FROM content_type WHERE name = %(type)s)
          ORDER BY path LIMIT %(limit)s)
        UNION ALL
        (SELECT f.path, f.content_id FROM member_path f JOIN content c USING (content_id)
          WHERE f.repository_id = %(repository)s AND f.path > %(last)s
            AND f.removed_in > %(number)s AND f.added_in <= %(number)s
            AND c.type_id = (SELECT type_id FROM content_type WHERE name = %(type)s)
          ORDER BY f.path LIMIT %(limit)s)) p
  -- One look-up each: a hash over all artifacts would be made for every page.
  CROSS JOIN LATERAL (SELECT digest, size_bytes FROM artifact
                       WHERE content_id = p.content_id AND relative_path = p.path LIMIT 1) a
  LEFT JOIN LATERAL (SELECT size_bytes FROM blob
                      WHERE a.size_bytes IS NULL AND digest = a.digest LIMIT 1) b ON true
 ORDER BY p.path LIMIT %(limit)s
"""
