"""Versions of repositories: reading, comparing, deleting, keeping the newest.

Deleting a version touches nothing that another one sees: rows whose interval lies wholly between
the two neighbours that are left are in no version, and are collected later, in chunks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_core.domain import set_digest
from entrepot_core.domain.errors import ResourceInUseError
from entrepot_core.domain.names import version_name
from entrepot_core.store import former_targets, named, repositories
from entrepot_core.store.intervals import CURRENT

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from entrepot_core.store.database import Cursor, Database
    from entrepot_core.store.repositories import RepositoryRow

__all__ = [
    "VersionRow",
    "delete",
    "find",
    "get",
    "orphan",
    "page",
    "parse_name",
    "retain",
    "sweep",
]

_COLUMNS = "number, unit_count, added, removed, set_digest, task_id::text, created_at"
_INTERVAL_TABLES = ("member", "member_path", "scoped_edge")


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A version; `task_id` is empty for version 0."""

    number: int
    unit_count: int
    added: int
    removed: int
    set_digest: bytes
    task_id: str
    created_at: datetime


def parse_name(full_name: str) -> tuple[str, str]:
    """Repository and number ("3", "latest") in "repositories/file/foo/versions/3"."""
    repository, found, number = full_name.partition("/versions/")
    if not found or not (number == "latest" or (number.isascii() and number.isdigit())):
        raise named.not_found(full_name)
    return repository, number


def find(cursor: Cursor, repository_id: int, number: int) -> VersionRow | None:
    """A version, or None."""
    if not 0 <= number < CURRENT:
        return None
    cursor.execute(
        f"SELECT {_COLUMNS} FROM version WHERE repository_id = %s AND number = %s",
        (repository_id, number),
    )
    row = cursor.fetchone()
    return None if row is None else _row(row)


def get(cursor: Cursor, full_name: str) -> tuple[RepositoryRow, VersionRow]:
    """A version by its full name, whose number may be "latest"; ResourceNotFoundError."""
    repository_name, number = parse_name(full_name)
    repository = repositories.get(cursor, repository_name)
    wanted = repository.latest if number == "latest" else int(number)
    version = find(cursor, repository.repository_id, wanted)
    if version is None:
        raise named.not_found(full_name)
    return repository, version


def page(cursor: Cursor, repository_id: int, below: int, size: int) -> list[VersionRow]:
    """The newest versions with a smaller number than `below`."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM version WHERE repository_id = %s AND number < %s"
        " ORDER BY number DESC LIMIT %s",
        (repository_id, below, size),
    )
    return [_row(row) for row in cursor.fetchall()]


def delete(cursor: Cursor, full_name: str) -> None:
    """Deletes a version with its publications.

    Raises ResourceNotFoundError; ResourceInUseError if it is the last one left, if a distribution
    serves it or its publication, if a task reads it, or, for the latest, if a task waits for the
    repository.
    """
    repository_name, number = parse_name(full_name)
    latest = repositories.get(cursor, repository_name).latest
    if number == "latest" or int(number) == latest:
        named.refuse_while_locked(cursor, repository_name)
    repository = repositories.get(cursor, repository_name)
    cursor.execute(
        "SELECT FROM repository WHERE repository_id = %s FOR UPDATE", (repository.repository_id,)
    )
    repository, version = get(cursor, full_name)
    reason = _reason_to_keep(cursor, repository.repository_id, version.number)
    if reason:
        raise ResourceInUseError(
            f"{full_name} cannot be deleted: {reason}", metadata={"resource": full_name}
        )
    _delete(cursor, repository, version)


def retain(database: Database, repository_id: int) -> list[str]:
    """Deletes what a repository keeps no longer; in a transaction of its own, after a commit.

    Returns names of what was deleted. A version that is served or read stays until it is not, and
    one that was served until its grace is over.
    """
    with database.transaction() as cursor:
        cursor.execute(
            "SELECT FROM repository WHERE repository_id = %s FOR UPDATE", (repository_id,)
        )
        repository = repositories.find_by_id(cursor, repository_id)
        if repository is None or not repository.retain_versions:
            return []
        cursor.execute(
            f"SELECT {_COLUMNS} FROM version WHERE repository_id = %s"
            " ORDER BY number DESC OFFSET %s",
            (repository_id, repository.retain_versions),
        )
        old = [_row(row) for row in cursor.fetchall()]
        under_way = former_targets.under_way(cursor, repository_id) if old else set()
        deleted = []
        for version in old:
            if version.number not in under_way and not _reason_to_keep(
                cursor, repository_id, version.number
            ):
                _delete(cursor, repository, version)
                deleted.append(version_name(repository.full_name, version.number))
        return deleted


def sweep(cursor: Cursor, limit: int) -> int:
    """Collects rows of deleted versions and repositories, at most `limit` per kind.

    Returns how many; zero when there is nothing left to do.
    """
    cursor.execute(
        "SELECT repository_id, after, before, number, deleted_at FROM deleted_version"
        " WHERE NOT is_swept ORDER BY deleted_at LIMIT 1 FOR UPDATE SKIP LOCKED"
    )
    gap = cursor.fetchone()
    if gap is not None:
        repository_id, after, before, number, deleted_at = gap
        swept = _delete_rows(
            cursor,
            "repository_id = %s AND added_in > %s AND removed_in <= %s",
            (repository_id, after, before),
            limit,
            deleted_at,
        )
        if not swept:
            cursor.execute(
                "UPDATE deleted_version SET is_swept = true"
                " WHERE repository_id = %s AND number = %s",
                (repository_id, number),
            )
        return max(swept, 1)
    cursor.execute(
        "SELECT repository_id, deleted_at FROM deleted_repository ORDER BY deleted_at LIMIT 1"
        " FOR UPDATE SKIP LOCKED"
    )
    row = cursor.fetchone()
    if row is None:
        return 0
    gone = row[:1]
    swept = _delete_rows(cursor, "repository_id = %s", gone, limit, row[1])
    if not swept:
        cursor.execute("DELETE FROM deleted_version WHERE repository_id = %s", gone)
        cursor.execute("DELETE FROM deleted_repository WHERE repository_id = %s", gone)
    return max(swept, 1)


def _delete_rows(
    cursor: Cursor,
    condition: str,
    parameters: tuple[Any, ...],
    limit: int,
    deleted_at: datetime,
) -> int:
    swept = 0
    for table in _INTERVAL_TABLES:
        unit = "source" if table == "scoped_edge" else "content_id"
        cursor.execute(
            f"DELETE FROM {table} WHERE ctid = ANY(ARRAY("
            f"SELECT ctid FROM {table} WHERE {condition} LIMIT %s)) RETURNING {unit}",
            (*parameters, limit),
        )
        swept += cursor.rowcount
        if table == "member":
            orphan(cursor, [row[0] for row in cursor.fetchall()], deleted_at)
    return swept


def orphan(cursor: Cursor, content_ids: list[int], since: datetime | None = None) -> None:
    """Says of those units that are in no version any more since when they are (default: now)."""
    cursor.execute(
        "WITH homeless AS (SELECT content_id FROM content c"
        "  WHERE content_id = ANY(%s::bigint[]) AND orphaned_at IS NULL"
        "  AND NOT EXISTS (SELECT FROM member m WHERE m.content_id = c.content_id)"
        "  ORDER BY content_id FOR UPDATE SKIP LOCKED)"
        " UPDATE content c SET orphaned_at = coalesce(%s, now()) FROM homeless h"
        " WHERE c.content_id = h.content_id",
        (sorted(set(content_ids)), since),
    )


def _reason_to_keep(cursor: Cursor, repository_id: int, number: int) -> str:
    cursor.execute(_USES, {"repository": repository_id, "number": number})
    is_last, distribution, task = cursor.fetchone() or (True, None, None)
    if is_last:
        return "a repository keeps at least one version."
    if distribution:
        return f"distributions/{distribution} serves it."
    if task:
        return f"tasks/{task} reads it."
    return ""


def _delete(cursor: Cursor, repository: RepositoryRow, version: VersionRow) -> None:
    repository_id, number = repository.repository_id, version.number
    cursor.execute(_NEIGHBOURS, {"repository": repository_id, "number": number})
    after, before = cursor.fetchone() or (None, None)
    if before is None and after is not None:
        _reopen(cursor, repository_id, after)
    cursor.execute(
        "DELETE FROM version WHERE repository_id = %s AND number = %s", (repository_id, number)
    )
    cursor.execute(
        "INSERT INTO deleted_version"
        " (repository_id, number, task_id, after, before, is_swept, created_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (
            repository_id,
            number,
            version.task_id or None,
            -1 if after is None else after,
            number if before is None else before,
            before is None,
            version.created_at,
        ),
    )


def _reopen(cursor: Cursor, repository_id: int, after: int) -> None:
    """The latest version goes: the one before becomes the current one again, at once."""
    parameters = {"repository": repository_id, "after": after, "current": CURRENT}
    cursor.execute(
        "SELECT set_state FROM repository_state WHERE repository_id = %s", (repository_id,)
    )
    (state,) = cursor.fetchone() or (set_digest.EMPTY,)
    came, left = _difference(cursor, parameters)
    state = set_digest.changed(bytes(state), left, came)
    for table in _INTERVAL_TABLES:
        unit = "source" if table == "scoped_edge" else "content_id"
        cursor.execute(
            f"DELETE FROM {table} WHERE repository_id = %(repository)s AND added_in > %(after)s"
            f" RETURNING {unit}",
            parameters,
        )
        if table == "member":
            orphan(cursor, [row[0] for row in cursor.fetchall()])
        cursor.execute(
            f"UPDATE {table} SET removed_in = %(current)s"
            " WHERE repository_id = %(repository)s AND removed_in > %(after)s"
            " AND removed_in < %(current)s",
            parameters,
        )
    cursor.execute(
        "UPDATE repository_state SET set_state = %s, hint = NULL, hint_version = NULL"
        " WHERE repository_id = %s",
        (state, repository_id),
    )
    cursor.execute(
        "UPDATE repository SET latest = %s WHERE repository_id = %s", (after, repository_id)
    )


def _difference(cursor: Cursor, parameters: dict[str, int]) -> tuple[list[bytes], list[bytes]]:
    """Elements of what came after a version and is there, and of what was there and left."""
    found: list[list[bytes]] = []
    for condition in (
        "m.added_in > %(after)s AND m.removed_in = %(current)s",
        "m.removed_in > %(after)s AND m.removed_in < %(current)s AND m.added_in <= %(after)s",
    ):
        cursor.execute(
            "SELECT t.name, c.key_digest, c.unit_digest FROM member m"
            " JOIN content c USING (content_id) JOIN content_type t ON t.type_id = c.type_id"
            f" WHERE m.repository_id = %(repository)s AND {condition}",
            parameters,
        )
        found.append(
            [set_digest.element(row[0], bytes(row[1]), bytes(row[2])) for row in cursor.fetchall()]
        )
    return found[0], found[1]


def _row(row: tuple[Any, ...]) -> VersionRow:
    number, unit_count, added, removed, digest, task_id, created_at = row
    return VersionRow(number, unit_count, added, removed, bytes(digest), task_id or "", created_at)


_USES = """
SELECT (SELECT count(*) FROM (SELECT FROM version WHERE repository_id = %(repository)s LIMIT 2) v)
         < 2,
       (SELECT d.plugin || '/' || d.name
          FROM distribution d LEFT JOIN publication p USING (publication_id)
         WHERE (d.repository_id = %(repository)s AND d.number = %(number)s)
            OR (p.repository_id = %(repository)s AND p.number = %(number)s)
         ORDER BY 1 LIMIT 1),
       (SELECT w.task_id::text
          FROM lent_repository l JOIN workspace w USING (workspace_id)
         WHERE l.repository_id = %(repository)s AND l.base_version = %(number)s LIMIT 1)
"""

_NEIGHBOURS = """
SELECT (SELECT max(number) FROM version
         WHERE repository_id = %(repository)s AND number < %(number)s),
       (SELECT min(number) FROM version
         WHERE repository_id = %(repository)s AND number > %(number)s)
"""
