"""Lines that tasks wrote for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg2.extras import execute_values

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from entrepot_core.store.database import Cursor

__all__ = ["Line", "page", "write"]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an attempt, by its number from 1; `level` is a LogLine.Level."""

    attempt: int
    number: int
    logged_at: datetime
    level: int
    message: str


def write(cursor: Cursor, task_id: str, lines: Sequence[Line]) -> None:
    """Keeps lines; one with a number that is taken replaces the one there."""
    execute_values(
        cursor,
        "INSERT INTO task_log (task_id, attempt, line, logged_at, level, message) VALUES %s"
        " ON CONFLICT (task_id, attempt, line) DO UPDATE"
        " SET logged_at = EXCLUDED.logged_at, message = EXCLUDED.message",
        [
            (task_id, one.attempt, one.number, one.logged_at, one.level, one.message)
            for one in lines
        ],
        page_size=1_000,
    )


def page(
    cursor: Cursor, task_id: str, size: int, after: tuple[int, int], attempt: int
) -> list[Line]:
    """At most `size` lines after the attempt and number `after`; `attempt` 0: of all attempts."""
    cursor.execute(
        "SELECT attempt, line, logged_at, level, message FROM task_log WHERE task_id = %s::uuid"
        " AND (attempt, line) > (%s, %s) AND %s IN (0, attempt) ORDER BY attempt, line LIMIT %s",
        (task_id, *after, attempt, size),
    )
    return [Line(*row) for row in cursor.fetchall()]
