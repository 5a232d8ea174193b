"""Numbers about the whole installation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_core.store import plugins, tally

if TYPE_CHECKING:
    from entrepot_core.store.database import Cursor
    from entrepot_core.store.plugins import PluginRow
    from entrepot_core.store.tally import LockTally

__all__ = ["Measures", "read"]

_PLUGINS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """How much there is of everything that is not over."""

    # By state and type.
    tasks: dict[tuple[str, str], int]
    locks: LockTally
    # Age of the oldest event that has no number yet.
    unnumbered_seconds: float
    plugins: list[PluginRow]


def read(cursor: Cursor) -> Measures:
    """Counts what is few, and estimates what is many."""
    tasks = tally.tasks(cursor)
    locks = tally.locks(cursor)
    cursor.execute(
        "SELECT coalesce((SELECT extract(epoch FROM clock_timestamp() - happened_at)"
        " FROM event_inbox ORDER BY event_inbox_id LIMIT 1), 0)::float8"
    )
    lag = (cursor.fetchone() or (0.0,))[0]
    return Measures(
        tasks=tasks,
        locks=locks,
        unnumbered_seconds=lag,
        plugins=plugins.page(cursor, _PLUGINS),
    )
