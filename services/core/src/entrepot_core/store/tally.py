"""How many tasks and locks there are, at a cost that does not grow with them.

Up to 5,000 of a kind are counted, along an index. More are estimated from a sample: some 200
pages of the table are read, always the same, so that numbers that stay do not jump.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from entrepot_core.store.database import Cursor

__all__ = ["LockTally", "locks", "tasks"]

COUNTED = 5_000
SAMPLED_PAGES = 200


@dataclass(frozen=True, slots=True)
class LockTally:
    """Locks of tasks that are held and waited for, and resources that somebody waits for."""

    held: int
    waiting: int
    queues: int


def tasks(
    cursor: Cursor, *, counted: int = COUNTED, pages: int = SAMPLED_PAGES
) -> dict[tuple[str, str], int]:
    """How many tasks wait and run, by state and type."""
    found: dict[tuple[str, str], int] = {}
    for state in ("waiting", "running"):
        of_state = _Tally("task", "task_type", f"state = '{state}'", "state, task_id")
        for task_type, count in of_state.count(cursor, counted, pages).items():
            found[state, str(task_type)] = count
    return found


def locks(cursor: Cursor, *, counted: int = COUNTED, pages: int = SAMPLED_PAGES) -> LockTally:
    """How many locks there are; resources are counted up to the same number."""
    order = "resource_id, seq"
    held = _Tally("lock_entry", "true", "granted", order).count(cursor, counted, pages)
    waiting = _Tally("lock_entry", "true", "NOT granted", order).count(cursor, counted, pages)
    cursor.execute(_QUEUES, (counted,))
    (queues,) = cursor.fetchone() or (0,)
    return LockTally(sum(held.values()), sum(waiting.values()), queues)


@dataclass(frozen=True, slots=True)
class _Tally:
    table: str
    group: str
    condition: str
    # That of an index with the condition, so that nothing else is read.
    order: str

    def count(self, cursor: Cursor, counted: int, pages: int) -> Mapping[object, int]:
        """By group."""
        cursor.execute(
            f"SELECT g, count(*) FROM (SELECT {self.group} AS g FROM {self.table}"
            f" WHERE {self.condition} ORDER BY {self.order} LIMIT %s) first GROUP BY 1",
            (counted + 1,),
        )
        first = dict(cursor.fetchall())
        if sum(first.values()) <= counted:
            return first
        estimated = self._estimate(cursor, pages)
        # What is in the sample by chance or not at all is at least what was seen.
        return {
            one: max(first.get(one, 0), estimated.get(one, 0)) for one in {**first, **estimated}
        }

    def _estimate(self, cursor: Cursor, pages: int) -> dict[object, int]:
        cursor.execute(
            "SELECT greatest(pg_relation_size(%s) / current_setting('block_size')::bigint, 1)",
            (self.table,),
        )
        (there,) = cursor.fetchone() or (1,)
        share = min(1.0, pages / there)
        cursor.execute(
            f"SELECT {self.group}, count(*) FROM {self.table}"
            f" TABLESAMPLE SYSTEM (%s) REPEATABLE (0) WHERE {self.condition} GROUP BY 1",
            (share * 100,),
        )
        return {one: round(count / share) for one, count in cursor.fetchall()}


# From one resource to the next along the index, however long their queues are.
_QUEUES = """
WITH RECURSIVE queue (resource_id, place) AS (
  (SELECT resource_id, 1 FROM lock_entry WHERE NOT granted ORDER BY resource_id, seq LIMIT 1)
  UNION ALL
  SELECT (SELECT l.resource_id FROM lock_entry l
           WHERE NOT l.granted AND l.resource_id > q.resource_id
           ORDER BY l.resource_id, l.seq LIMIT 1), q.place + 1
    FROM queue q WHERE q.resource_id IS NOT NULL AND q.place < %s)
SELECT count(resource_id) FROM queue
"""
