"""How the installation is, as far as the database knows: what a status is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from entrepot_core.store.database import Cursor

__all__ = ["MOST_COUNTED", "MOST_NAMED", "Condition", "StalledTask", "read", "waiting_for"]

# Of what may be very many, so many are counted, and so many are named.
MOST_COUNTED = 1_000
MOST_NAMED = 5

_RUNNING = 1_000


@dataclass(frozen=True, slots=True)
class StalledTask:
    """A running task that has not got on for long."""

    task_id: str
    task_type: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What the database says of itself and of everybody."""

    now: datetime
    is_read_only: bool
    is_standby: bool
    # Age of the oldest event that has no number yet.
    unnumbered_seconds: float
    stalled: list[StalledTask]
    unverified_remotes: list[str]


def read(cursor: Cursor, stalled_seconds: float) -> Condition:
    """The condition now; a task that has said nothing new for `stalled_seconds` has stalled."""
    cursor.execute(
        "SELECT clock_timestamp(), current_setting('transaction_read_only') = 'on',"
        " pg_is_in_recovery(), coalesce((SELECT"
        " extract(epoch FROM clock_timestamp() - happened_at) FROM event_inbox"
        " ORDER BY event_inbox_id LIMIT 1), 0)::float8"
    )
    now, is_read_only, is_standby, unnumbered = cursor.fetchone() or (None, False, False, 0.0)
    cursor.execute(
        "SELECT task_id::text, task_type, since FROM ("
        " SELECT t.task_id, t.task_type, greatest(t.started_at, (SELECT happened_at FROM event e"
        "   WHERE e.task_id = t.task_id ORDER BY event_id DESC LIMIT 1)) AS since"
        " FROM task t WHERE state = 'running' ORDER BY task_id LIMIT %s) AS running"
        " WHERE since < clock_timestamp() - make_interval(secs => %s) ORDER BY since",
        (_RUNNING, stalled_seconds),
    )
    stalled = [StalledTask(*row) for row in cursor.fetchall()]
    cursor.execute(
        "SELECT 'remotes/' || plugin || '/' || name FROM remote WHERE NOT verify_tls"
        " ORDER BY 1 LIMIT %s",
        (MOST_COUNTED,),
    )
    return Condition(
        now=now,
        is_read_only=is_read_only,
        is_standby=is_standby,
        unnumbered_seconds=unnumbered,
        stalled=stalled,
        unverified_remotes=[row[0] for row in cursor.fetchall()],
    )


def waiting_for(cursor: Cursor, plugin_id: int) -> int:
    """How many tasks wait for nothing but a plugin, counted up to MOST_COUNTED."""
    cursor.execute(
        "SELECT count(*) FROM (SELECT FROM task WHERE state = 'waiting' AND waits_for = 0"
        " AND NOT parked AND plugin_id = %s LIMIT %s) AS some",
        (plugin_id, MOST_COUNTED),
    )
    return int((cursor.fetchone() or (0,))[0])
