"""Plugins as every process sees them: who is registered, what each declared, and how it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_core.store import prepared

if TYPE_CHECKING:
    from datetime import datetime

    from entrepot_core.store.database import Cursor

__all__ = [
    "CORE",
    "DeclarationRow",
    "PluginRow",
    "declarations",
    "find",
    "mark_down",
    "most_running",
    "page",
    "put",
    "put_declaration",
    "record",
    "remove",
    "revision",
    "waiting_tasks_of_removed",
]

# The plugin that core is itself.
CORE = "core"


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginRow:
    """A plugin: what the operator set, and what core found out."""

    plugin_id: int
    name: str
    target: str
    weight: int
    max_running: int
    health: str
    message: str
    is_removed: bool
    declaration_id: int | None
    version: str
    instance_id: str
    seen_at: datetime | None
    created_at: datetime
    # Longest time of one attempt, if the operator says so.
    attempt_timeout_seconds: float | None = None
    running: int = 0


@dataclass(frozen=True, slots=True)
class DeclarationRow:
    """What a plugin once said of itself, serialised."""

    declaration_id: int
    plugin: str
    body: bytes
    is_removed: bool


_COLUMNS = [
    "plugin_id",
    "name",
    "target",
    "weight",
    "max_running",
    "health",
    "message",
    "is_removed",
    "declaration_id",
    "version",
    "instance_id",
    "seen_at",
    "created_at",
    "attempt_timeout_seconds",
]
_SELECT = (
    f"SELECT {', '.join(_COLUMNS)}, "
    "(SELECT count(*) FROM workspace w WHERE w.plugin_id = p.plugin_id) AS running FROM plugin p "
)


def revision(cursor: Cursor) -> int:
    """A number that grows with every change to plugins."""
    cursor.execute("SELECT revision FROM plugin_revision")
    return int((cursor.fetchone() or (0,))[0])


def find(cursor: Cursor, name: str) -> PluginRow | None:
    """The registered plugin of a name, or None."""
    prepared.execute(
        cursor, f"{_SELECT} WHERE name = %s AND NOT is_removed AND name <> %s", (name, CORE)
    )
    rows = _rows(cursor)
    return rows[0] if rows else None


def most_running(cursor: Cursor, plugin: PluginRow) -> int:
    """How many attempts a plugin may run now: what it can, or seven in eight slots."""
    cursor.execute("SELECT least(%s, share_of_one())", (plugin.max_running,))
    return int((cursor.fetchone() or (0,))[0])


def page(cursor: Cursor, size: int, after: str = "") -> list[PluginRow]:
    """Registered plugins by name, without core."""
    cursor.execute(
        f"{_SELECT} WHERE name > %s AND NOT is_removed AND name <> %s ORDER BY name LIMIT %s",
        (after, CORE, size),
    )
    return _rows(cursor)


def declarations(cursor: Cursor) -> list[DeclarationRow]:
    """The current declaration of every plugin that ever had one, removed ones included."""
    cursor.execute(
        "SELECT declaration_id, p.name, d.body, p.is_removed FROM plugin p"
        " JOIN declaration d USING (declaration_id) ORDER BY p.name"
    )
    return [
        DeclarationRow(i, name, bytes(body), gone) for i, name, body, gone in cursor.fetchall()
    ]


def put(
    cursor: Cursor, name: str, target: str, weight: int, attempt_timeout_seconds: float | None
) -> None:
    """Registers a plugin, or changes its address, share and longest time of an attempt."""
    cursor.execute(
        "INSERT INTO plugin (name, target, weight, attempt_timeout_seconds)"
        " VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (name) DO UPDATE SET target = EXCLUDED.target, weight = EXCLUDED.weight,"
        " attempt_timeout_seconds = EXCLUDED.attempt_timeout_seconds,"
        " is_removed = false, created_at = CASE WHEN plugin.is_removed THEN now()"
        " ELSE plugin.created_at END",
        (name, target, weight, attempt_timeout_seconds),
    )


def put_declaration(cursor: Cursor, plugin: str, digest: bytes, body: bytes) -> int:
    """Keeps a declaration and returns its number."""
    cursor.execute(
        "INSERT INTO declaration (plugin, digest, body) VALUES (%s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        (plugin, digest, body),
    )
    cursor.execute(
        "SELECT declaration_id FROM declaration WHERE plugin = %s AND digest = %s",
        (plugin, digest),
    )
    return int((cursor.fetchone() or (0,))[0])


def record(
    cursor: Cursor,
    name: str,
    *,
    health: str,
    message: str,
    version: str,
    instance_id: str,
    max_running: int | None = None,
    declaration_id: int | None = None,
    known: PluginRow | None = None,
) -> bool:
    """Notes that a plugin answered, and what; None keeps what was.

    False, and nothing is noted, if another answer was since `known` was read: that may be newer.
    """
    cursor.execute(
        "UPDATE plugin SET seen_at = clock_timestamp(), instance_id = %s WHERE name = %s"
        " AND (%s OR seen_at IS NOT DISTINCT FROM %s::timestamptz)",
        (instance_id, name, known is None, known and known.seen_at),
    )
    if known is not None and cursor.rowcount == 0:
        return False
    # Only what is different, so that nobody re-reads what has not changed.
    cursor.execute(
        "UPDATE plugin SET health = %(health)s, message = %(message)s, version = %(version)s,"
        " max_running = coalesce(%(max_running)s, max_running),"
        " declaration_id = coalesce(%(declaration)s, declaration_id) WHERE name = %(name)s"
        " AND (health, message, version, max_running, declaration_id) IS DISTINCT FROM"
        " (%(health)s, %(message)s, %(version)s, coalesce(%(max_running)s, max_running),"
        " coalesce(%(declaration)s, declaration_id))",
        {
            "health": health,
            "message": message,
            "version": version,
            "max_running": max_running,
            "declaration": declaration_id,
            "name": name,
        },
    )
    return True


def mark_down(cursor: Cursor, name: str, message: str) -> bool:
    """Notes that a plugin does not answer; False if that was known."""
    cursor.execute(
        "UPDATE plugin SET health = 'down', message = %s WHERE name = %s AND name <> %s"
        " AND NOT is_removed AND (health <> 'down' OR message <> %s)",
        (message, name, CORE, message),
    )
    return cursor.rowcount > 0


def remove(cursor: Cursor, name: str) -> bool:
    """Unregisters a plugin; False if there is none. Its declaration stays."""
    cursor.execute(
        "UPDATE plugin SET is_removed = true, health = 'down' WHERE name = %s AND name <> %s"
        " AND NOT is_removed",
        (name, CORE),
    )
    return cursor.rowcount > 0


def waiting_tasks_of_removed(cursor: Cursor, most: int = 1000) -> list[tuple[str, str]]:
    """Ids of tasks that wait for a plugin that was removed, and its name."""
    # By plugin, of which there are few, or all that wait would be looked at.
    cursor.execute(
        "WITH removed AS MATERIALIZED (SELECT name FROM plugin WHERE is_removed)"
        " SELECT t.task_id::text, r.name FROM removed r CROSS JOIN LATERAL ("
        "  SELECT task_id FROM task"
        "   WHERE split_part(task_type, '/', 1) = r.name AND state = 'waiting'"
        "   ORDER BY split_part(task_type, '/', 1), task_id LIMIT %s) t LIMIT %s",
        (most, most),
    )
    return list(cursor.fetchall())


def _rows(cursor: Cursor) -> list[PluginRow]:
    names = (*_COLUMNS, "running")
    return [PluginRow(**dict(zip(names, row, strict=True))) for row in cursor.fetchall()]
