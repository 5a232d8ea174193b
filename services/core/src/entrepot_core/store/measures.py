"""Numbers about the whole installation. Counting costs with the queue, so callers count seldom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_core.store import plugins

if TYPE_CHECKING:
    from entrepot_core.store.database import Cursor
    from entrepot_core.store.plugins import PluginRow

__all__ = ["Measures", "read"]

_PLUGINS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """How much there is of everything that is not over."""

    # By state and type.
    tasks: dict[tuple[str, str], int]
    locks_held: int
    locks_waiting: int
    # Resources that somebody waits for.
    queues: int
    # Age of the oldest event that has no number yet.
    unnumbered_seconds: float
    plugins: list[PluginRow]


def read(cursor: Cursor) -> Measures:
    """Counts; each task and lock that is not over is looked at once."""
    cursor.execute(
        "SELECT state, task_type, count(*) FROM task WHERE state IN ('waiting', 'running')"
        " GROUP BY state, task_type"
    )
    tasks = {(state, task_type): count for state, task_type, count in cursor.fetchall()}
    cursor.execute(
        "SELECT count(*) FILTER (WHERE granted), count(*) FILTER (WHERE NOT granted),"
        " count(DISTINCT resource_id) FILTER (WHERE NOT granted) FROM lock_entry"
    )
    held, waiting, queues = cursor.fetchone() or (0, 0, 0)
    cursor.execute(
        "SELECT coalesce((SELECT extract(epoch FROM clock_timestamp() - happened_at)"
        " FROM event_inbox ORDER BY event_inbox_id LIMIT 1), 0)::float8"
    )
    lag = (cursor.fetchone() or (0.0,))[0]
    return Measures(
        tasks=tasks,
        locks_held=held,
        locks_waiting=waiting,
        queues=queues,
        unnumbered_seconds=lag,
        plugins=plugins.page(cursor, _PLUGINS),
    )
