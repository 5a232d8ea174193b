"""What is served: base paths to content sets, paths to files. Each look-up is a descent or two."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from entrepot_core.domain.errors import FieldInvalidError
from entrepot_core.domain.selector import MAX_CHARACTERS

if TYPE_CHECKING:
    from datetime import datetime

    from entrepot_core.store.database import Cursor

__all__ = [
    "ContentSet",
    "Pointer",
    "ServedFile",
    "base_paths",
    "content_set",
    "find_file",
    "find_named",
    "find_pointer",
    "find_set",
    "parse_content_set",
    "pointers",
]

_MAX_BASE_PATH = 255
_VERSION_SET = re.compile(r"v:(\d{1,18}):(\d{1,9})")


@dataclass(frozen=True, slots=True)
class Pointer:
    """A distribution and what it points at now; an empty content set is nothing yet."""

    distribution: str
    base_path: str
    content_set: str
    made_at: datetime | None
    distribution_id: int
    # The version that is served, itself or through a publication.
    repository_id: int | None
    number: int | None
    # Whether it is the latest of a repository, and changes with it.
    is_latest: bool
    # What the path asks for behind the base path and "@"; None: what is served now.
    selector: str | None = None


@dataclass(frozen=True, slots=True)
class ContentSet:
    """An immutable set of files: a version, or a publication of it."""

    repository_id: int
    number: int
    publication_id: str | None = None
    # False: only the publication's own files are served.
    has_version: bool = True


@dataclass(frozen=True, slots=True)
class ServedFile:
    """A file of a set; of a unit, unless it was generated. Size -1 is not known."""

    path: str
    content_id: int | None
    relative_path: str
    digest: bytes | None
    size_bytes: int
    is_stored: bool
    # At least one digest says what it must be.
    is_verifiable: bool
    made_at: datetime
    media_type: str = ""


def find_pointer(cursor: Cursor, path: str) -> Pointer | None:
    """The distribution with the longest base path that the path lies in, or None.

    A base path that has an "@" itself wins over another's version.
    """
    plain, selected = _folders(path), _selected(path)
    cursor.execute(_POINTER + " WHERE d.base_path = ANY(%s::text[])", (plain + list(selected),))
    found = {pointer.base_path: pointer for pointer in map(_pointer, cursor)}
    for folder in plain:
        if folder in found:
            return found[folder]
    for base_path, selector in selected.items():
        if base_path in found:
            return replace(found[base_path], selector=selector)
    return None


def find_named(cursor: Cursor, distribution: str) -> Pointer | None:
    """What the distribution of this full name points at now, or None."""
    _, _, name = distribution.partition("/")
    cursor.execute(_POINTER + " WHERE (d.plugin, d.name) = (%s, %s)", tuple(name.split("/", 1)))
    row = cursor.fetchone()
    return None if row is None else _pointer(row)


def content_set(repository_id: int, number: int, publication_id: str | None = None) -> str:
    """The name of the set of a version, or of a publication."""
    return f"v:{repository_id}:{number}" if publication_id is None else f"p:{publication_id}"


def pointers(cursor: Cursor) -> dict[str, tuple[object, ...]]:
    """What answers about every base path depend on."""
    cursor.execute(
        "SELECT d.base_path, d.repository_id, d.publication_id, coalesce(d.number, r.latest),"
        " d.grace_seconds FROM distribution d LEFT JOIN repository r USING (repository_id)"
    )
    return {row[0]: tuple(row[1:]) for row in cursor}


def base_paths(cursor: Cursor) -> list[str]:
    """All base paths, in order."""
    cursor.execute("SELECT base_path FROM distribution ORDER BY base_path")
    return [row[0] for row in cursor]


def parse_content_set(name: str) -> tuple[int, int] | str:
    """Repository and number of a version, or the id of a publication; FieldInvalidError."""
    match = _VERSION_SET.fullmatch(name)
    if match:
        return int(match[1]), int(match[2])
    try:
        return str(uuid.UUID(name.removeprefix("p:")))
    except ValueError:
        raise FieldInvalidError.at("content_set", "is not one from ResolvePointer.") from None


def find_set(cursor: Cursor, name: str) -> ContentSet | None:
    """The content set of a name, or None if it was deleted."""
    parsed = parse_content_set(name)
    if isinstance(parsed, tuple):
        cursor.execute("SELECT FROM version WHERE repository_id = %s AND number = %s", parsed)
        return None if cursor.fetchone() is None else ContentSet(*parsed)
    cursor.execute(
        "SELECT repository_id, number, pass_through FROM publication"
        " WHERE publication_id = %s::uuid",
        (parsed,),
    )
    row = cursor.fetchone()
    return None if row is None else ContentSet(row[0], row[1], parsed, row[2])


def find_file(cursor: Cursor, where: ContentSet, path: str) -> ServedFile | None:
    """The file at a path, or None. Generated indexes are not looked for."""
    scope = {
        "repository": where.repository_id,
        "number": where.number,
        "publication": where.publication_id,
        "path": path,
    }
    if where.publication_id is not None:
        cursor.execute(_PUBLISHED, scope)
        row = cursor.fetchone()
        if row is not None:
            return _file(row)
    if where.has_version:
        cursor.execute(_IN_VERSION, scope)
        row = cursor.fetchone()
        if row is not None:
            return _file(row)
    return None


def _folders(path: str, longest: int = _MAX_BASE_PATH) -> list[str]:
    """The path and the folders it lies in, the longest first, as far as they are not too long."""
    found = []
    end = len(path)
    while end > 0:
        if end <= longest:
            found.append(path[:end])
        end = path.rfind("/", 0, end)
    return found


def _selected(path: str) -> dict[str, str]:
    """By base path what the path may ask for of it."""
    found: dict[str, str] = {}
    for folder in _folders(path, _MAX_BASE_PATH + 1 + MAX_CHARACTERS):
        base_path, separator, selector = folder.rpartition("@")
        if separator and base_path and "/" not in selector and not base_path.endswith("/"):
            found.setdefault(base_path, selector)
    return found


def _pointer(row: tuple[object, ...]) -> Pointer:
    (plugin, name, base_path, distribution_id, repository_id, number, is_latest, publication_id,
     made_at) = row  # fmt: skip
    named = "" if repository_id is None else content_set(repository_id, number, publication_id)  # type: ignore[arg-type]
    return Pointer(
        f"distributions/{plugin}/{name}",
        str(base_path),
        named,
        made_at,  # type: ignore[arg-type]
        distribution_id,  # type: ignore[arg-type]
        repository_id,  # type: ignore[arg-type]
        number,  # type: ignore[arg-type]
        bool(is_latest),
    )


def _file(row: tuple[object, ...]) -> ServedFile:
    path, content_id, relative_path, digest, size, is_stored, has_other, made_at, media_type = row
    return ServedFile(
        path,  # type: ignore[arg-type]
        content_id,  # type: ignore[arg-type]
        relative_path,  # type: ignore[arg-type]
        None if digest is None else bytes(digest),  # type: ignore[call-overload]
        -1 if size is None else size,  # type: ignore[arg-type]
        bool(is_stored),
        digest is not None or bool(has_other),
        made_at,  # type: ignore[arg-type]
        media_type,  # type: ignore[arg-type]
    )


_POINTER = """
SELECT d.plugin, d.name, d.base_path, d.distribution_id,
       coalesce(d.repository_id, p.repository_id), coalesce(d.number, p.number, r.latest),
       d.repository_id IS NOT NULL AND d.number IS NULL, d.publication_id::text,
       coalesce(p.created_at, v.created_at)
  FROM distribution d
  LEFT JOIN repository r ON r.repository_id = d.repository_id
  LEFT JOIN version v ON v.repository_id = d.repository_id
   AND v.number = coalesce(d.number, r.latest)
  LEFT JOIN publication p ON p.publication_id = d.publication_id
"""

_OF_ARTIFACT = """
       coalesce(b.size_bytes, a.size_bytes), b.digest IS NOT NULL, a.other_digests IS NOT NULL,
"""

# One row per unique key and version: the first interval that ends after the version is the only
# one that can contain it.
_IN_VERSION = f"""
SELECT %(path)s, m.content_id, a.relative_path, a.digest, {_OF_ARTIFACT} c.created_at, ''
  FROM ((SELECT content_id, added_in FROM member
          WHERE repository_id = %(repository)s AND path = %(path)s AND removed_in > %(number)s
          ORDER BY removed_in LIMIT 1)
        UNION ALL
        (SELECT content_id, added_in FROM member_path
          WHERE repository_id = %(repository)s AND path = %(path)s AND removed_in > %(number)s
          ORDER BY removed_in LIMIT 1)) m
  JOIN artifact a ON a.content_id = m.content_id AND a.relative_path = %(path)s
  JOIN content c ON c.content_id = m.content_id
  LEFT JOIN blob b ON b.digest = a.digest
 WHERE m.added_in <= %(number)s
 LIMIT 1
"""

_PUBLISHED = """
SELECT f.path, f.content_id, coalesce(f.relative_path, f.path), coalesce(f.digest, a.digest),
       coalesce(b.size_bytes, a.size_bytes), b.digest IS NOT NULL, a.other_digests IS NOT NULL,
       p.created_at, f.media_type
  FROM published_file f
  JOIN publication p USING (publication_id)
  LEFT JOIN artifact a ON a.content_id = f.content_id AND a.relative_path = f.relative_path
  LEFT JOIN blob b ON b.digest = coalesce(f.digest, a.digest)
 WHERE f.publication_id = %(publication)s::uuid AND f.path = %(path)s
"""
