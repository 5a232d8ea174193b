"""Dispatchers: who runs attempts, and who of them is dead."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from entrepot_core.store.database import Cursor

__all__ = [
    "DispatcherRow",
    "alive",
    "beat",
    "end_sessions",
    "evict",
    "hung",
    "register",
    "resume",
    "unheld",
    "unregister",
]

# A dispatcher beats every two seconds.
_SILENT_SECONDS = 10.0

_LIVENESS = 1  # first half of the advisory lock that a dispatcher holds while it lives

_LOCK_IS_HELD = """
  EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid = 1
     AND l.objid = d.dispatcher_id::oid AND l.objsubid = 2 AND l.granted
     AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""


@dataclass(frozen=True, slots=True)
class DispatcherRow:
    """A process that runs attempts."""

    dispatcher_id: int
    name: str
    beat_at: datetime
    running: int
    slots: int = 0
    silent_seconds: float = 0.0
    clock_ahead_seconds: float = 0.0

    @property
    def is_silent(self) -> bool:
        """Whether it is not to be counted on, as plan_at_once does not either."""
        return self.silent_seconds > _SILENT_SECONDS


def register(cursor: Cursor, name: str, slots: int, process: str = "") -> int:
    """The number of a new dispatcher; its lock is held as long as the connection lasts.

    `process` is the word with which the names of its sessions end; others end them by it.
    """
    cursor.execute(
        "INSERT INTO dispatcher (name, slots, process) VALUES (%s, %s, %s)"
        " RETURNING dispatcher_id",
        (name, slots, process),
    )
    dispatcher_id = int((cursor.fetchone() or (0,))[0])
    cursor.execute("SELECT pg_advisory_lock(%s, %s)", (_LIVENESS, dispatcher_id))
    return dispatcher_id


def resume(cursor: Cursor, dispatcher_id: int) -> bool:
    """Takes the lock again after the connection broke; False if it was given up meanwhile."""
    cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", (_LIVENESS, dispatcher_id))
    if not (cursor.fetchone() or (False,))[0]:
        return False
    cursor.execute(
        "UPDATE dispatcher SET beat_at = clock_timestamp(), backend_pid = pg_backend_pid()"
        " WHERE dispatcher_id = %s",
        (dispatcher_id,),
    )
    return cursor.rowcount == 1


def beat(cursor: Cursor, dispatcher_id: int) -> bool:
    """Says that a dispatcher lives, and what its clock shows; False if it was given up."""
    cursor.execute(
        "UPDATE dispatcher SET beat_at = clock_timestamp(), clock_ahead_seconds ="
        " %s - extract(epoch FROM clock_timestamp())::float8 WHERE dispatcher_id = %s",
        (time.time(), dispatcher_id),
    )
    return cursor.rowcount == 1


def unregister(cursor: Cursor, dispatcher_id: int) -> None:
    """Forgets a dispatcher that has nothing left to run."""
    cursor.execute(
        "DELETE FROM dispatcher d WHERE dispatcher_id = %s AND NOT EXISTS"
        " (SELECT FROM workspace w WHERE w.dispatcher_id = d.dispatcher_id)",
        (dispatcher_id,),
    )


def alive(cursor: Cursor) -> list[DispatcherRow]:
    """The dispatchers that are not given up, with how many attempts each runs."""
    cursor.execute(
        "SELECT dispatcher_id, name, beat_at, (SELECT count(*) FROM workspace w"
        " WHERE w.dispatcher_id = d.dispatcher_id), slots,"
        " extract(epoch FROM clock_timestamp() - beat_at)::float8, clock_ahead_seconds"
        " FROM dispatcher d ORDER BY dispatcher_id"
    )
    return [DispatcherRow(*row) for row in cursor.fetchall()]


def unheld(cursor: Cursor, restarted_seconds: float) -> list[int]:
    """Dispatchers whose session is gone: they are dead, or are just taking up another one.

    Nobody, while the server is up for no longer than given: a restart frees every lock, and the
    owners live.
    """
    cursor.execute(
        "SELECT dispatcher_id FROM dispatcher d WHERE"
        " clock_timestamp() - pg_postmaster_start_time() > make_interval(secs => %s)"
        f" AND NOT {_LOCK_IS_HELD} ORDER BY 1",
        (restarted_seconds,),
    )
    return [row[0] for row in cursor.fetchall()]


def hung(cursor: Cursor, silent_seconds: float, restarted_seconds: float) -> list[int]:
    """Dispatchers that have not beaten for so long, by the database's clock.

    Nobody, while the server is up for no longer than given: it may have been down meanwhile.
    """
    cursor.execute(
        "SELECT dispatcher_id FROM dispatcher WHERE"
        " clock_timestamp() - pg_postmaster_start_time() > make_interval(secs => %(restarted)s)"
        " AND beat_at < clock_timestamp() - make_interval(secs => %(silent)s) ORDER BY 1",
        {"silent": silent_seconds, "restarted": restarted_seconds},
    )
    return [row[0] for row in cursor.fetchall()]


def end_sessions(cursor: Cursor, dispatcher_id: int) -> int:
    """Ends every session of a dispatcher's process; returns how many.

    With them go the rows and roles that it holds, which a stopped process would hold for ever.
    """
    cursor.execute(
        "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a, dispatcher d"
        " WHERE d.dispatcher_id = %s AND d.process <> '' AND a.pid <> pg_backend_pid()"
        " AND a.datname = current_database() AND a.application_name LIKE '%% ' || d.process",
        (dispatcher_id,),
    )
    return cursor.rowcount


def evict(cursor: Cursor, dispatcher_id: int) -> None:
    """Forgets a dead dispatcher whose attempts were taken over."""
    cursor.execute(
        "DELETE FROM dispatcher d WHERE dispatcher_id = %s AND NOT EXISTS"
        " (SELECT FROM workspace w WHERE w.dispatcher_id = d.dispatcher_id)",
        (dispatcher_id,),
    )
