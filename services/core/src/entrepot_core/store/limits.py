"""Limits that the operator sets: how many tasks of one kind run at once.

Which limits a task is under, functions of 0009_scheduling.sql say. The claim holds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2.errors

from entrepot_core.domain.errors import EtagMismatchError
from entrepot_core.store import named, prepared

if TYPE_CHECKING:
    from datetime import datetime

    from entrepot_core.store.database import Cursor

__all__ = [
    "LimitRow",
    "create",
    "delete",
    "full",
    "get",
    "page",
    "sort_repository",
    "sort_waiting",
    "update",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRow:
    """A limit; of an empty `label_key` it counts whatever tasks lock, of None any value."""

    task_limit_id: int
    name: str
    task_type: str
    label_key: str
    label_value: str | None
    max_running: int
    description: str
    revision: int
    created_at: datetime
    updated_at: datetime
    running: int

    @property
    def full_name(self) -> str:
        return f"limits/{self.name}"

    @property
    def etag(self) -> str:
        return named.etag_of(self.task_limit_id, self.revision)


_COLUMNS = (
    "task_limit_id",
    "name",
    "task_type",
    "label_key",
    "label_value",
    "max_running",
    "description",
    "revision",
    "created_at",
    "updated_at",
)
_SELECT = (
    f"SELECT {', '.join(f'l.{column}' for column in _COLUMNS)}, u.running FROM task_limit l"
    " JOIN limit_usage() u USING (task_limit_id) "
)


def create(cursor: Cursor, values: dict[str, Any]) -> LimitRow:
    """A new limit; `values` are columns. Raises NameTakenError."""
    names = ", ".join(values)
    marks = ", ".join(f"%({name})s" for name in values)
    try:
        cursor.execute(f"INSERT INTO task_limit ({names}) VALUES ({marks})", values)
    except psycopg2.errors.UniqueViolation as error:
        raise named.name_taken(f"limits/{values['name']}") from error
    return get(cursor, f"limits/{values['name']}")


def get(cursor: Cursor, full_name: str, *, lock: bool = False) -> LimitRow:
    """The limit "limits/syncs"; `lock` keeps others from changing it.

    Raises ResourceNotFoundError.
    """
    collection, _, name = full_name.partition("/")
    if collection == "limits" and name:
        cursor.execute(f"{_SELECT} WHERE l.name = %s{' FOR UPDATE OF l' if lock else ''}", (name,))
        row = cursor.fetchone()
        if row is not None:
            return _row(row)
    raise named.not_found(full_name)


def page(cursor: Cursor, size: int, after: str = "") -> list[LimitRow]:
    """At most `size` limits by name, after a name."""
    cursor.execute(f"{_SELECT} WHERE l.name > %s ORDER BY l.name LIMIT %s", (after, size))
    return [_row(row) for row in cursor.fetchall()]


def update(cursor: Cursor, row: LimitRow, values: dict[str, Any], etag: str = "") -> LimitRow:
    """The limit with some columns changed. Raises EtagMismatchError."""
    _check_etag(row, etag)
    if values:
        changes = "".join(f"{name} = %({name})s, " for name in values)
        cursor.execute(
            f"UPDATE task_limit SET {changes} revision = revision + 1, updated_at = now()"
            " WHERE task_limit_id = %(task_limit_id)s",
            {**values, "task_limit_id": row.task_limit_id},
        )
    return get(cursor, row.full_name)


def delete(cursor: Cursor, row: LimitRow, etag: str = "") -> None:
    """Deletes a limit. Raises EtagMismatchError."""
    _check_etag(row, etag)
    cursor.execute("DELETE FROM task_limit WHERE task_limit_id = %s", (row.task_limit_id,))


def full(cursor: Cursor, task_id: str) -> list[LimitRow]:
    """The limits that a waiting task is under and that have no room for it now, by name."""
    prepared.execute(
        cursor,
        f"{_SELECT} JOIN task t ON l.task_limit_id = ANY (limits_of(t.task_type, t.task_id))"
        " WHERE t.task_id = %s::uuid AND u.running >= l.max_running ORDER BY l.name",
        (task_id,),
    )
    return [_row(row) for row in cursor.fetchall()]


def sort_waiting(cursor: Cursor, after: str | None, most: int = 1000) -> str | None:
    """Puts ready tasks into the queues of their limits; where to go on, None at the end.

    The claim would do it as well, a few at a time: after a change of the limits this does it at
    once, in batches that hold up nobody.
    """
    cursor.execute("SELECT sort_waiting(%s::uuid, %s)::text", (after, most))
    last: str | None = (cursor.fetchone() or (None,))[0]
    return last


def sort_repository(cursor: Cursor, full_name: str) -> None:
    """The same for the ready tasks that lock a repository, after a change of its labels."""
    cursor.execute("SELECT sort_waiting_of(%s)", (full_name,))


def _check_etag(row: LimitRow, etag: str) -> None:
    if etag and etag != row.etag:
        raise EtagMismatchError(
            f"{row.full_name} has changed since it was read; read it again.",
            metadata={"resource": row.full_name},
        )


def _row(values: tuple[Any, ...]) -> LimitRow:
    return LimitRow(**dict(zip((*_COLUMNS, "running"), values, strict=True)))
