"""What tasks wait for: other tasks in the queues of resources, and plugins that were away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from entrepot_core.store.database import Cursor

__all__ = ["MAX_PLACE", "Block", "now", "of", "outages"]

MAX_PLACE = 1_000
"""Places in a queue are counted up to this; one more means more."""

_HOLDERS = 10


@dataclass(frozen=True, slots=True)
class Block:
    """A task that holds what another waits for, or is next before it in the queue.

    `place` is that of the waiting task, 0 where it was not counted; `since` is when the blocking
    one started, or, if it waits itself, when it was created.
    """

    waiting: str
    resource: str
    place: int
    task_id: str
    is_holder: bool
    task_type: str
    is_running: bool
    since: datetime


def of(cursor: Cursor, task_ids: Sequence[str], *, counted: bool) -> list[Block]:
    """Who holds what these tasks need, at most 10 for each resource, and who is next before.

    Args:
        cursor: Of any transaction.
        task_ids: Tasks that wait for locks; of others nothing is found.
        counted: Whether to count their places, which costs more the longer a queue is.
    """
    cursor.execute(
        "SELECT w.waiting::text, w.resource, w.place, w.blocker::text, w.holds, t.task_type,"
        " t.state = 'running',"
        " CASE WHEN t.state = 'running' THEN t.started_at ELSE t.created_at END"
        " FROM waits_of(%s::uuid[], %s, %s) w JOIN task t ON t.task_id = w.blocker"
        " ORDER BY w.waiting, w.resource, w.holds DESC",
        (list(task_ids), _HOLDERS, MAX_PLACE if counted else 0),
    )
    return [Block(*row) for row in cursor.fetchall()]


def outages(
    cursor: Cursor, plugin: str, since: datetime
) -> list[tuple[datetime, datetime | None]]:
    """When the plugin took no tasks, oldest first: beginning and end, None if that lasts."""
    cursor.execute(
        "SELECT o.began_at, o.ended_at FROM plugin_outage o JOIN plugin p USING (plugin_id)"
        " WHERE p.name = %s AND coalesce(o.ended_at, 'infinity') > %s ORDER BY o.began_at",
        (plugin, since),
    )
    return cursor.fetchall()


def now(cursor: Cursor) -> datetime:
    """The time by the clock that all instants of tasks are read from."""
    cursor.execute("SELECT clock_timestamp()")
    ((moment,),) = cursor.fetchall()
    return cast("datetime", moment)
