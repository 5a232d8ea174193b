"""Folders of a content set, which exist only as parts of paths: what lies in them is skipped."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from entrepot_core.store.database import Cursor, Database
    from entrepot_core.store.serving import ContentSet

__all__ = ["Entry", "entries", "is_folder"]

# Files in a row are read so many at a time; after a folder, one look at what follows it.
_FILES = 500
_AFTER_FOLDER = 2
# Entries that are handed on together.
_BATCH = 200

# A path, the unit that is there, and the path in it.
_Row = tuple[str, "int | None", "str | None"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder by its name; of a file what is known, size -1 if that is not."""

    name: str
    is_folder: bool
    size_bytes: int = -1
    digest: bytes | None = None
    made_at: datetime | None = None


def is_folder(cursor: Cursor, where: ContentSet, path: str) -> bool:
    """Whether some file lies below the path; the top is always a folder."""
    return not path or bool(_next(cursor, where, path + "/", path + "0", 1))


def entries(
    database: Database, where: ContentSet, folder: str, generated: Sequence[str] = ()
) -> Iterator[list[Entry]]:
    """What is in a folder, in batches, in order of name with a "/" at the end of folders' names.

    `generated` are paths of indexes of the set, which no row has yet.
    """
    walk = _Walk(where, folder, generated)
    while walk.goes_on():
        batch: list[Entry] = []
        with database.transaction() as cursor:
            while walk.goes_on() and len(batch) < _BATCH:
                batch += walk.step(cursor)
        if batch:
            yield batch


class _Walk:
    """Where a listing is, and how it goes on."""

    def __init__(self, where: ContentSet, folder: str, generated: Sequence[str]) -> None:
        self._is_over = False
        self._where = where
        self._prefix = folder + "/" if folder else ""
        # "0" follows "/": the first path behind all in the folder. At the top there is none.
        self._end = folder + "0" if folder else None
        self._indexes = [path for path in generated if path.startswith(self._prefix)]
        self._start = self._prefix
        self._limit = _AFTER_FOLDER

    def goes_on(self) -> bool:
        """Whether there is more to look at."""
        return not self._is_over

    def step(self, cursor: Cursor) -> list[Entry]:
        """The next entries: some files, or a folder and what is before it."""
        rows = self._rows(cursor)
        files: list[_Row] = []
        names: list[tuple[str, bool]] = []
        for row in rows:
            name, slash, _ = row[0][len(self._prefix) :].partition("/")
            if not slash:
                files.append(row)
                names.append((name, False))
            elif not names or names[-1] != (name, True):
                names.append((name, True))
        if names:
            self._go_on(*names[-1])
        known = _details(cursor, self._where, files)
        return [
            Entry(name, is_folder=True)
            if is_a_folder
            else known.get(self._prefix + name, Entry(name, is_folder=False))
            for name, is_a_folder in names
        ]

    def _rows(self, cursor: Cursor) -> list[_Row]:
        rows = _next(cursor, self._where, self._start, self._end, self._limit)
        self._is_over = len(rows) < self._limit
        # An index further on comes with the rows around it.
        horizon = None if self._is_over else rows[-1][0]
        known = {row[0] for row in rows}
        due: list[_Row] = [
            (path, None, None)
            for path in self._indexes
            if path >= self._start and (horizon is None or path <= horizon) and path not in known
        ]
        return sorted([*rows, *due], key=itemgetter(0))

    def _go_on(self, name: str, is_a_folder: bool) -> None:  # noqa: FBT001  as it was listed
        # No path has a control character, so nothing lies between a path and itself with one.
        self._start = f"{self._prefix}{name}0" if is_a_folder else f"{self._prefix}{name}\x01"
        self._limit = _AFTER_FOLDER if is_a_folder else min(_FILES, self._limit * 8)


def _next(
    cursor: Cursor, where: ContentSet, start: str, end: str | None, limit: int
) -> list[_Row]:
    """The next paths from a start on, each with its unit and the path there, in order."""
    scope = {
        "repository": where.repository_id,
        "number": where.number,
        "publication": where.publication_id,
        "start": start,
        "end": end,
        "limit": limit,
    }
    queries = []
    if where.publication_id is not None:
        queries.append(_PUBLISHED)
    if where.has_version:
        queries += [_MEMBER, _MEMBER_PATH]
    streams = []
    for query in queries:
        condition = "" if end is None else " AND path < %(end)s"
        cursor.execute(query.format(condition), scope)
        streams.append(cursor.fetchall())
    merged: list[_Row] = []
    for row in heapq.merge(*streams, key=itemgetter(0)):
        # What is published hides what the version has at the same path.
        if not merged or merged[-1][0] != row[0]:
            merged.append(row)
        if len(merged) == limit:
            break
    return merged


def _details(
    cursor: Cursor,
    where: ContentSet,
    files: Sequence[_Row],
) -> dict[str, Entry]:
    of_units = [row for row in files if row[1] is not None]
    found: dict[str, Entry] = {}
    if of_units:
        cursor.execute(
            _OF_UNITS,
            (
                [row[0] for row in of_units],
                [row[1] for row in of_units],
                [row[2] for row in of_units],
            ),
        )
        found.update(_entry(row) for row in cursor)
    if where.publication_id is not None and len(of_units) < len(files):
        own = [row[0] for row in files if row[1] is None]
        cursor.execute(_OF_PUBLICATION, (where.publication_id, own))
        found.update(_entry(row) for row in cursor)
    own = [path for path, content_id, _ in files if content_id is None and path not in found]
    if own:
        cursor.execute(_OF_INDEXES, (where.repository_id, where.number, own))
        found.update(_entry(row) for row in cursor)
    return found


def _entry(row: tuple[str, bytes | None, int | None, datetime]) -> tuple[str, Entry]:
    path, digest, size, made_at = row
    name = path.rpartition("/")[2]
    return path, Entry(
        name,
        is_folder=False,
        size_bytes=-1 if size is None else size,
        digest=None if digest is None else bytes(digest),
        made_at=made_at,
    )


_MEMBER = """
SELECT path, content_id, path FROM member
 WHERE repository_id = %(repository)s AND path >= %(start)s{} AND removed_in > %(number)s
   AND added_in <= %(number)s
 ORDER BY path LIMIT %(limit)s
"""

_MEMBER_PATH = """
SELECT path, content_id, path FROM member_path
 WHERE repository_id = %(repository)s AND path >= %(start)s{} AND removed_in > %(number)s
   AND added_in <= %(number)s
 ORDER BY path LIMIT %(limit)s
"""

_PUBLISHED = """
SELECT path, content_id, relative_path FROM published_file
 WHERE publication_id = %(publication)s::uuid AND path >= %(start)s{}
 ORDER BY path LIMIT %(limit)s
"""

_OF_UNITS = """
SELECT f.path, a.digest, coalesce(b.size_bytes, a.size_bytes), c.created_at
  FROM unnest(%s::text[], %s::bigint[], %s::text[]) AS f(path, content_id, relative_path)
  JOIN artifact a USING (content_id, relative_path)
  JOIN content c USING (content_id)
  LEFT JOIN blob b ON b.digest = a.digest
"""

_OF_PUBLICATION = """
SELECT f.path, f.digest, b.size_bytes, p.created_at
  FROM published_file f JOIN publication p USING (publication_id)
  LEFT JOIN blob b ON b.digest = f.digest
 WHERE f.publication_id = %s::uuid AND f.path = ANY(%s::text[])
"""

_OF_INDEXES = """
SELECT path, digest, size_bytes, created_at FROM version_index
 WHERE repository_id = %s AND number = %s AND path = ANY(%s::text[])
"""
