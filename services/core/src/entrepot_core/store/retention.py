"""Forgetting what is over: tasks, events, request ids; in batches that cost the same always.

Of a task that made a version its origin stays, for as long as anything names it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from entrepot_core.domain.task import State
    from entrepot_core.store.database import Cursor

__all__ = [
    "FIRST",
    "FIRST_ORIGIN",
    "OriginRow",
    "Place",
    "forget_origins",
    "forget_tasks",
    "origins",
]


@dataclass(frozen=True, slots=True)
class Place:
    """How far a pass over tasks has come."""

    ended_at: datetime
    task_id: str


FIRST_ORIGIN = "00000000-0000-0000-0000-000000000000"
FIRST = Place(datetime(1970, 1, 1, tzinfo=UTC), FIRST_ORIGIN)


@dataclass(frozen=True, slots=True)
class OriginRow:
    """Who had a task done, and what did it; the task itself may be gone."""

    task_id: str
    task_type: str
    principal: str
    plugin_version: str
    declaration_digest: bytes
    parameters_type: str
    parameters: bytes
    cloned_from: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


_NAMES = [one.name for one in fields(OriginRow)]


def forget_tasks(
    cursor: Cursor, state: State, days: float, after: Place, most: int = 500
) -> tuple[int, Place | None]:
    """Forgets some tasks; returns how many, and where to go on, None at the end."""
    cursor.execute(
        "SELECT forgotten, last_end, last_task::text FROM forget_tasks(%s,"
        " clock_timestamp() - make_interval(secs => %s), %s, %s::uuid, %s)",
        (state.value, days * 86400, after.ended_at, after.task_id, most),
    )
    forgotten, last_end, last_task = cursor.fetchone() or (0, None, None)
    return forgotten, Place(last_end, last_task) if last_task else None


def forget_origins(cursor: Cursor, after: str, most: int = 500) -> tuple[int, str | None]:
    """Forgets origins that nothing names any more; returns how many, and where to go on."""
    cursor.execute(
        "SELECT forgotten, last_task::text FROM forget_origins(%s::uuid, %s)", (after, most)
    )
    forgotten, last_task = cursor.fetchone() or (0, None)
    return forgotten, last_task


def origins(cursor: Cursor, task_ids: Sequence[str]) -> dict[str, OriginRow]:
    """The origins of what tasks made, by task; without those that nobody knows any more."""
    cursor.execute(
        "SELECT o.task_id::text, o.task_type, o.principal, o.plugin_version,"
        " coalesce(d.digest, ''), o.parameters_type, o.parameters, o.cloned_from::text,"
        " o.created_at, o.started_at, o.ended_at"
        " FROM origins(%s::uuid[]) o LEFT JOIN declaration d USING (declaration_id)",
        (list(task_ids),),
    )
    return {row[0]: _origin(row) for row in cursor.fetchall()}


def _origin(row: tuple[Any, ...]) -> OriginRow:
    named = dict(zip(_NAMES, row, strict=True))
    for key in ("declaration_digest", "parameters"):
        named[key] = bytes(named[key])
    return OriginRow(**named)
