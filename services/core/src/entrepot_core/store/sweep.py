"""What the sweeper looks for: whatever a lost wake-up, a crash or time leaves to be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entrepot_core.store.database import Cursor

__all__ = [
    "age",
    "delete_old_events",
    "delete_old_requests",
    "grant_stuck",
    "ownerless_dispatchers",
    "running_without_workspace",
    "stuck_resources",
    "unpark",
]


def stuck_resources(cursor: Cursor) -> list[int]:
    """Resources that somebody waits for and nobody holds; there should be none."""
    cursor.execute("SELECT * FROM stuck_resources()")
    return [row[0] for row in cursor.fetchall()]


def grant_stuck(cursor: Cursor, resource_id: int) -> int:
    """Grants what is stuck on a resource; returns how many locks."""
    cursor.execute("SELECT grant_stuck(%s)", (resource_id,))
    return int((cursor.fetchone() or (0,))[0])


def unpark(cursor: Cursor, most: int = 100) -> int:
    """Makes tasks ready whose back-off is over; returns how many."""
    cursor.execute("SELECT unpark_tasks(%s)", (most,))
    return int((cursor.fetchone() or (0,))[0])


def age(cursor: Cursor, seconds: float, most: int = 1000) -> int:
    """Moves tasks that have been ready for so long one class up; returns how many."""
    cursor.execute("SELECT age_tasks(make_interval(secs => %s), %s)", (seconds, most))
    return int((cursor.fetchone() or (0,))[0])


def ownerless_dispatchers(cursor: Cursor) -> list[int]:
    """Numbers of dispatchers that are forgotten and still named by workspaces."""
    cursor.execute(
        "SELECT DISTINCT dispatcher_id FROM workspace w WHERE NOT EXISTS"
        " (SELECT FROM dispatcher d WHERE d.dispatcher_id = w.dispatcher_id)"
    )
    return [row[0] for row in cursor.fetchall()]


def running_without_workspace(cursor: Cursor, most: int = 1000) -> list[str]:
    """Tasks whose workspace a crash of the database took."""
    cursor.execute(
        "SELECT task_id::text FROM task t WHERE state = 'running' AND NOT EXISTS"
        " (SELECT FROM workspace w WHERE w.task_id = t.task_id) ORDER BY task_id LIMIT %s",
        (most,),
    )
    return [row[0] for row in cursor.fetchall()]


def delete_old_events(cursor: Cursor, days: float, most: int = 5000) -> int:
    """Forgets events of long ago, never the newest: numbers go on from it. Returns how many."""
    cursor.execute(
        "DELETE FROM event WHERE event_id = ANY(ARRAY(SELECT event_id FROM event"
        " WHERE happened_at < clock_timestamp() - make_interval(secs => %s)"
        " AND event_id < (SELECT max(event_id) FROM event) ORDER BY event_id LIMIT %s))",
        (days * 86400, most),
    )
    return cursor.rowcount


def delete_old_requests(cursor: Cursor, days: float, most: int = 5000) -> int:
    """Forgets request ids of long ago; returns how many."""
    cursor.execute(
        "DELETE FROM creation_request WHERE (principal, request_id) IN ("
        " SELECT principal, request_id FROM creation_request"
        " WHERE created_at < clock_timestamp() - make_interval(secs => %s) LIMIT %s)",
        (days * 86400, most),
    )
    return cursor.rowcount
