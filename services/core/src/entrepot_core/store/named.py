"""What repositories, remotes and distributions have in common.

Their queries depend on what is asked, so peewee writes them; psycopg2 runs them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2.errors
from peewee import SQL, PostgresqlDatabase, Table, Tuple, fn

from entrepot_core.domain.errors import (
    EtagMismatchError,
    NameTakenError,
    Precondition,
    ResourceInUseError,
    ResourceNotFoundError,
)
from entrepot_core.store import prepared

if TYPE_CHECKING:
    from datetime import datetime

    from peewee import Expression, Query, Select

    from entrepot_core.store.database import Cursor

__all__ = [
    "COMMON_COLUMNS",
    "Named",
    "Page",
    "delete",
    "insert",
    "page",
    "refuse_while_locked",
    "run",
    "select",
    "split_name",
    "update",
]

_DIALECT = PostgresqlDatabase(None)

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


def name_taken(full_name: str) -> NameTakenError:
    """The error that says that something has this name already."""
    return NameTakenError(f"{full_name} exists already.", metadata={"resource": full_name})


def select(
    cursor: Cursor, table: str, columns: tuple[str, ...], full_name: str, *, lock: bool = False
) -> dict[str, Any] | None:
    """The row of a name, or None; `lock` keeps others from changing it."""
    plugin, name = split_name(full_name, table)
    rows = _table(table)
    query = _columns(rows, columns).where((rows.c.plugin == plugin) & (rows.c.name == name))
    prepared.execute(cursor, *(query.for_update() if lock else query).sql())
    row = cursor.fetchone()
    return None if row is None else as_dict(columns, row)


def page(
    cursor: Cursor, table: str, columns: tuple[str, ...], wanted: Page
) -> list[dict[str, Any]]:
    """The rows of a page, in order of plugin and name."""
    rows = _table(table)
    query = _columns(rows, columns).where(Tuple(rows.c.plugin, rows.c.name) > Tuple(*wanted.after))
    if wanted.plugin:
        query = query.where(rows.c.plugin == wanted.plugin)
    if wanted.label:
        key, has_value, value = wanted.label.partition("=")
        query = query.where(
            SQL("labels @> %s::jsonb", [json.dumps({key: value})])
            if has_value
            else SQL("labels ? %s", [key])
        )
    run(cursor, query.order_by(rows.c.plugin, rows.c.name).limit(wanted.size))
    return [as_dict(columns, row) for row in cursor.fetchall()]


def insert(
    cursor: Cursor, table: str, values: dict[str, Any], returning: tuple[str, ...]
) -> dict[str, Any]:
    """The new row. Raises NameTakenError."""
    rows = _table(table)
    query = rows.insert(_assigned(rows, values)).returning(
        *(getattr(rows.c, column) for column in returning)
    )
    cursor.execute("SAVEPOINT named_insert")
    try:
        run(cursor, query)
    except psycopg2.errors.UniqueViolation as error:
        cursor.execute("ROLLBACK TO SAVEPOINT named_insert")
        if error.diag.constraint_name != f"{table}_name_uniq":
            raise
        full_name = f"{_collection(table)}/{values['plugin']}/{values['name']}"
        raise name_taken(full_name) from error
    except psycopg2.errors.ForeignKeyViolation as error:
        raise _target_gone() from error
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
    rows = _table(table)
    changes = {
        **_assigned(rows, values),
        rows.c.revision: rows.c.revision + 1,
        rows.c.updated_at: fn.now(),
    }
    try:
        run(cursor, rows.update(changes).where(_is(rows, table, row)))
    except psycopg2.errors.ForeignKeyViolation as error:
        raise _target_gone() from error


def delete(cursor: Cursor, table: str, row: dict[str, Any], etag: str) -> None:
    """Deletes a row that was selected FOR UPDATE; the etag as in `update`."""
    check_etag(table, row, etag)
    rows = _table(table)
    run(cursor, rows.delete().where(_is(rows, table, row)))


def run(cursor: Cursor, query: Query) -> None:
    """Executes a peewee query in the transaction of a cursor of ours."""
    cursor.execute(*query.sql())


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


def _target_gone() -> ResourceNotFoundError:
    return ResourceNotFoundError("What was named has just been deleted.")


def _table(name: str) -> Table:
    # Bound to a database only for its dialect: connections and transactions are ours.
    return Table(name).bind(_DIALECT)


def _columns(rows: Table, columns: tuple[str, ...]) -> Select:
    return rows.select(*(getattr(rows.c, column) for column in columns))


def _assigned(rows: Table, values: dict[str, Any]) -> dict[Any, Any]:
    return {
        getattr(rows.c, column): json.dumps(value) if isinstance(value, dict) else value
        for column, value in values.items()
    }


def _is(rows: Table, table: str, row: dict[str, Any]) -> Expression:
    expression: Expression = getattr(rows.c, f"{table}_id") == row[f"{table}_id"]
    return expression


def _collection(table: str) -> str:
    return "repositories" if table == "repository" else f"{table}s"
