"""The log of events: numbering what is committed, reading it, and waking those who wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_core.store import prepared

if TYPE_CHECKING:
    from datetime import datetime

    from entrepot_core.store.database import Cursor

__all__ = [
    "CANCELS",
    "EVENTS",
    "INBOX",
    "POINTERS",
    "WORK",
    "EventRow",
    "Numbered",
    "first_number",
    "last_number",
    "last_number_of_task",
    "notify",
    "number",
    "read",
]

# Channels: something is ready, and in the inbox; something is in the inbox; the log has grown.
WORK = "entrepot_work"
INBOX = "entrepot_inbox"
EVENTS = "entrepot_events"
# A running task is to stop.
CANCELS = "entrepot_cancels"
# Something that is served may have changed.
POINTERS = "entrepot_pointers"


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something that happened to a task."""

    number: int
    task_id: str
    kind: str
    happened_at: datetime


@dataclass(frozen=True, slots=True)
class Numbered:
    """How many events were numbered, the last number, and whether one asks a task to stop."""

    count: int
    last: int
    has_cancels: bool


def number(cursor: Cursor, most: int = 2000) -> Numbered:
    """Moves committed events to the log."""
    cursor.execute("SELECT numbered, last_event, has_cancels FROM number_events(%s)", (most,))
    count, last, has_cancels = cursor.fetchone() or (0, 0, False)
    return Numbered(count, last or 0, has_cancels or False)


def notify(cursor: Cursor, channel: str, payload: str = "") -> None:
    """Wakes listeners. The cursor is one of `statements`: nothing else is in the transaction.

    It need not be durable, and is not waited for.
    """
    cursor.execute(
        "SELECT set_config('synchronous_commit', 'off', true), pg_notify(%s, %s)",
        (channel, payload),
    )


def last_number(cursor: Cursor) -> int:
    """The number of the newest event; zero if there is none."""
    cursor.execute("SELECT coalesce(max(event_id), 0) FROM event")
    return int((cursor.fetchone() or (0,))[0])


def first_number(cursor: Cursor) -> int:
    """The number of the oldest event that is kept; zero if there is none."""
    cursor.execute("SELECT coalesce(min(event_id), 0) FROM event")
    return int((cursor.fetchone() or (0,))[0])


def read(cursor: Cursor, after: int, most: int = 1000) -> list[EventRow]:
    """The next events after a number, in order."""
    prepared.execute(
        cursor,
        "SELECT event_id, task_id::text, kind, happened_at FROM event WHERE event_id > %s"
        " ORDER BY event_id LIMIT %s",
        (after, most),
    )
    return [EventRow(*row) for row in cursor.fetchall()]


def last_number_of_task(cursor: Cursor, task_id: str) -> int:
    """The number of the newest event of a task; zero if there is none."""
    cursor.execute(
        "SELECT coalesce(max(event_id), 0) FROM event WHERE task_id = %s::uuid", (task_id,)
    )
    return int((cursor.fetchone() or (0,))[0])
