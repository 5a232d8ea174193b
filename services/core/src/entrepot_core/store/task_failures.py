"""Units that failed in tasks, as serialised messages, numbered from 1 in each task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg2.extras import execute_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from entrepot_core.store.database import Cursor

__all__ = ["MAX_KEPT", "count", "forget", "kept", "page", "write"]

MAX_KEPT = 10_000
"""So many are kept of a task; it counts all."""


def write(cursor: Cursor, task_id: str, first: int, failures: Sequence[bytes]) -> None:
    """Keeps failures with the numbers from `first` on."""
    execute_values(
        cursor,
        "INSERT INTO task_failure (task_id, number, failure) VALUES %s ON CONFLICT DO NOTHING",
        [(task_id, first + index, one) for index, one in enumerate(failures)],
        page_size=1_000,
    )


def forget(cursor: Cursor, task_id: str) -> None:
    """Drops what an earlier attempt kept."""
    cursor.execute("DELETE FROM task_failure WHERE task_id = %s::uuid", (task_id,))


def page(cursor: Cursor, task_id: str, size: int, after: int) -> list[tuple[int, bytes]]:
    """At most `size` failures with their numbers, those after a number."""
    cursor.execute(
        "SELECT number, failure FROM task_failure WHERE task_id = %s::uuid AND number > %s"
        " ORDER BY number LIMIT %s",
        (task_id, after, size),
    )
    return [(number, bytes(failure)) for number, failure in cursor.fetchall()]


def count(cursor: Cursor, task_id: str) -> int:
    """How many are kept of a task."""
    cursor.execute("SELECT count(*) FROM task_failure WHERE task_id = %s::uuid", (task_id,))
    return int((cursor.fetchone() or (0,))[0])


def kept(cursor: Cursor, task_id: str) -> list[bytes]:
    """All failures that are kept of a task."""
    cursor.execute(
        "SELECT failure FROM task_failure WHERE task_id = %s::uuid ORDER BY number", (task_id,)
    )
    return [bytes(row[0]) for row in cursor.fetchall()]
