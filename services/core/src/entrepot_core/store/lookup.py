"""Files of a repository by their paths, at a cost that grows with the paths alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_core.store.intervals import CURRENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from entrepot_core.store.database import Cursor

__all__ = ["FileRow", "files_at"]


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file of the latest version; digest and size are None while nobody knows them."""

    path: str
    digest: bytes | None
    size_bytes: int | None
    is_stored: bool


def files_at(cursor: Cursor, repository_id: int, paths: Sequence[str]) -> list[FileRow]:
    """The files at those of the paths where there is one."""
    wanted = {"repository": repository_id, "paths": list(paths), "current": CURRENT}
    cursor.execute(_FILES, wanted)
    return [
        FileRow(path, None if digest is None else bytes(digest), size, is_stored)
        for path, digest, size, is_stored in cursor
    ]


_FILES = """
SELECT m.path, a.digest, a.size_bytes,
       EXISTS (SELECT FROM blob b WHERE b.digest = a.digest AND b.state = 'live')
  FROM (SELECT path, content_id FROM member
         WHERE repository_id = %(repository)s AND path = ANY(%(paths)s::text[])
           AND removed_in = %(current)s
         UNION ALL
        SELECT path, content_id FROM member_path
         WHERE repository_id = %(repository)s AND path = ANY(%(paths)s::text[])
           AND removed_in = %(current)s) m
  JOIN artifact a ON a.content_id = m.content_id AND a.relative_path = m.path
"""
