"""What repositories, remotes and distributions have in common.

The columns come from this package, never from a request, so statements are composed of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2.errors
from psycopg2 import sql

from entrepot_core.domain.errors import (
    EtagMismatchError,
    NameTakenError,
    Precondition,
    ResourceInUseError,
    ResourceNotFoundError,
)

if TYPE_CHECKING:
    from datetime import datetime

    from entrepot_core.store.database import Cursor

__all__ = [
    "COMMON_COLUMNS",
    "Named",
    "Page",
    "delete",
    "insert",
    "page",
    "refuse_while_locked",
    "select",
    "split_name",
    "update",
]

COMMON_COLUMNS = (
    "plugin",
    "name",
    "description",
    "labels",
    "spec",
    "revision",
    "created_at",
    "updated_at",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """The fields that every named resource has."""

    plugin: str
    name: str
    description: str
    labels: dict[str, str]
    spec: bytes
    revision: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list: after (plugin, name), with a label "key" or "key=value"."""

    size: int
    plugin: str = ""
    after: tuple[str, str] = ("", "")
    label: str = ""


def split_name(full_name: str, table: str) -> tuple[str, str]:
    """Plugin and last segment of "repositories/file/foo".

    Raises ResourceNotFoundError for what cannot be a name.
    """
    segments = full_name.split("/")
    if len(segments) != 3 or segments[0] != _collection(table):  # noqa: PLR2004  collection, plugin, name
        raise not_found(full_name)
    return segments[1], segments[2]


def not_found(full_name: str) -> ResourceNotFoundError:
    """The error that says that nothing has this name."""
    return ResourceNotFoundError(f"There is no {full_name}.", metadata={"resource": full_name})


def select(
    cursor: Cursor, table: str, columns: tuple[str, ...], full_name: str, *, lock: str = ""
) -> dict[str, Any] | None:
    """The row of a name, or None; `lock` is a locking clause such as "FOR UPDATE"."""
    plugin, name = split_name(full_name, table)
    cursor.execute(
        sql.SQL("SELECT {} FROM {} WHERE plugin = %s AND name = %s {}").format(
            _list(columns), sql.Identifier(table), sql.SQL(lock)
        ),
        (plugin, name),
    )
    row = cursor.fetchone()
    return None if row is None else as_dict(columns, row)


def page(
    cursor: Cursor, table: str, columns: tuple[str, ...], wanted: Page
) -> list[dict[str, Any]]:
    """The rows of a page, in order of plugin and name."""
    conditions = [sql.SQL("(plugin, name) > (%s, %s)")]
    parameters: list[Any] = list(wanted.after)
    if wanted.plugin:
        conditions.append(sql.SQL("plugin = %s"))
        parameters.append(wanted.plugin)
    if wanted.label:
        key, has_value, value = wanted.label.partition("=")
        conditions.append(sql.SQL("labels @> %s::jsonb" if has_value else "labels ? %s"))
        parameters.append(json.dumps({key: value}) if has_value else key)
    cursor.execute(
        sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY plugin, name LIMIT %s").format(
            _list(columns), sql.Identifier(table), sql.SQL(" AND ").join(conditions)
        ),
        (*parameters, wanted.size),
    )
    return [as_dict(columns, row) for row in cursor.fetchall()]


def insert(
    cursor: Cursor, table: str, values: dict[str, Any], returning: tuple[str, ...]
) -> dict[str, Any]:
    """The new row. Raises NameTakenError."""
    values = _adapted(values)
    cursor.execute("SAVEPOINT named_insert")
    try:
        cursor.execute(
            sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING {}").format(
                sql.Identifier(table),
                _list(tuple(values)),
                sql.SQL(", ").join([sql.Placeholder()] * len(values)),
                _list(returning),
            ),
            tuple(values.values()),
        )
    except psycopg2.errors.UniqueViolation as error:
        cursor.execute("ROLLBACK TO SAVEPOINT named_insert")
        if error.diag.constraint_name != f"{table}_name_uniq":
            raise
        full_name = f"{_collection(table)}/{values['plugin']}/{values['name']}"
        raise NameTakenError(
            f"{full_name} exists already.", metadata={"resource": full_name}
        ) from error
    return as_dict(returning, cursor.fetchone() or ())


def update(
    cursor: Cursor, table: str, row: dict[str, Any], values: dict[str, Any], etag: str
) -> None:
    """Changes a row that was selected FOR UPDATE.

    Raises EtagMismatchError if an etag is given and not the current one.
    """
    check_etag(table, row, etag)
    if not values:
        return
    values = _adapted(values)
    assignments = [
        sql.SQL("{} = {}").format(sql.Identifier(column), sql.Placeholder()) for column in values
    ]
    cursor.execute(
        sql.SQL(
            "UPDATE {} SET {}, revision = revision + 1, updated_at = now() WHERE {} = %s"
        ).format(
            sql.Identifier(table), sql.SQL(", ").join(assignments), sql.Identifier(f"{table}_id")
        ),
        (*values.values(), row[f"{table}_id"]),
    )


def delete(cursor: Cursor, table: str, row: dict[str, Any], etag: str) -> None:
    """Deletes a row that was selected FOR UPDATE; the etag as in `update`."""
    check_etag(table, row, etag)
    cursor.execute(
        sql.SQL("DELETE FROM {} WHERE {} = %s").format(
            sql.Identifier(table), sql.Identifier(f"{table}_id")
        ),
        (row[f"{table}_id"],),
    )


def etag_of(identifier: int, revision: int) -> str:
    """The etag: id and revision, so that a resource that was made anew has another."""
    return f"{identifier}-{revision}"


def check_etag(table: str, row: dict[str, Any], etag: str) -> None:
    """Raises EtagMismatchError if an etag is given and not the current one."""
    if etag and etag != etag_of(row[f"{table}_id"], row["revision"]):
        full_name = f"{_collection(table)}/{row['plugin']}/{row['name']}"
        raise EtagMismatchError(
            f"{full_name} has changed since it was read; read it again.",
            metadata={"resource": full_name},
        )


def refuse_while_locked(cursor: Cursor, full_name: str) -> None:
    """Makes sure that no task holds or awaits the resource, until the end of the transaction.

    Raises ResourceInUseError naming a task. The advisory lock is the one that creating and
    finishing tasks take.
    """
    cursor.execute("INSERT INTO resource (name) VALUES (%s) ON CONFLICT DO NOTHING", (full_name,))
    cursor.execute(
        "SELECT resource_id, pg_advisory_xact_lock(resource_id) FROM resource WHERE name = %s",
        (full_name,),
    )
    resource_id = (cursor.fetchone() or (None,))[0]
    cursor.execute(
        "SELECT task_id::text FROM lock_entry WHERE resource_id = %s ORDER BY seq LIMIT 1",
        (resource_id,),
    )
    waiting = cursor.fetchone()
    if waiting is not None:
        task = f"tasks/{waiting[0]}"
        raise ResourceInUseError(
            f"{full_name} is used by {task}; wait for it or cancel it.",
            metadata={"resource": full_name},
            preconditions=(Precondition("TASK", task, "holds or awaits the resource"),),
        )


def as_dict(columns: tuple[str, ...], row: tuple[Any, ...]) -> dict[str, Any]:
    """A row by column name, with bytes as bytes."""
    return {
        column: bytes(value) if isinstance(value, memoryview) else value
        for column, value in zip(columns, row, strict=True)
    }


def _adapted(values: dict[str, Any]) -> dict[str, Any]:
    return {
        column: json.dumps(value) if isinstance(value, dict) else value
        for column, value in values.items()
    }


def _collection(table: str) -> str:
    return "repositories" if table == "repository" else f"{table}s"


def _list(columns: tuple[str, ...]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(column) for column in columns)
