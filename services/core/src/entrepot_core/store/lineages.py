"""What tasks were cloned from, and what was cloned from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from entrepot_core.store.database import Cursor

__all__ = ["MOST", "Asked", "Relative", "ancestors", "asked", "descendants"]

MOST = 100
"""How many of each are told."""


@dataclass(frozen=True, slots=True)
class Relative:
    """A task of a lineage; `differs` says whether its parameters are not those of its original.

    That is None if there is no original, or it is not kept any more.
    """

    task_id: str
    cloned_from: str | None
    is_dry_run: bool
    created_at: datetime
    differs: bool | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a task was asked."""

    task_type: str
    parameters_type: str
    parameters: bytes
    is_dry_run: bool


def ancestors(cursor: Cursor, task_id: str) -> list[Relative]:
    """The task itself, what it was cloned from, and so on."""
    cursor.execute(
        "WITH RECURSIVE lineage AS ("
        "  SELECT task_id, cloned_from, 0 AS depth FROM task WHERE task_id = %s::uuid"
        "   UNION ALL"
        "  SELECT t.task_id, t.cloned_from, l.depth + 1 FROM lineage l"
        "    JOIN task t ON t.task_id = l.cloned_from WHERE l.depth < %s)" + _RELATIVES + "depth",
        (task_id, MOST),
    )
    return [Relative(*row) for row in cursor.fetchall()]


def descendants(cursor: Cursor, task_id: str) -> list[Relative]:
    """Clones of the task, clones of these and so on, oldest first."""
    # LIMIT inside: a recursive query is worked out only as far as somebody reads.
    cursor.execute(
        "WITH RECURSIVE below AS ("
        "  SELECT task_id, cloned_from FROM task WHERE cloned_from = %s::uuid"
        "   UNION ALL"
        "  SELECT t.task_id, t.cloned_from FROM below b JOIN task t ON t.cloned_from = b.task_id),"
        " lineage AS (SELECT * FROM below LIMIT %s)" + _RELATIVES + "l.task_id",
        (task_id, MOST),
    )
    return [Relative(*row) for row in cursor.fetchall()]


def asked(cursor: Cursor, task_id: str) -> Asked:
    """What a task that there is was asked."""
    cursor.execute(
        "SELECT task_type, parameters_type, parameters, is_dry_run"
        " FROM task JOIN task_detail USING (task_id) WHERE task_id = %s::uuid",
        (task_id,),
    )
    task_type, parameters_type, parameters, is_dry_run = cursor.fetchone() or ("", "", b"", False)
    return Asked(task_type, parameters_type, bytes(parameters), is_dry_run)


_RELATIVES = """
SELECT t.task_id::text, t.cloned_from::text, t.is_dry_run, t.created_at,
       (o.parameters, was.is_dry_run) IS DISTINCT FROM (d.parameters, t.is_dry_run)
         AND CASE WHEN o.task_id IS NULL THEN NULL ELSE true END
  FROM lineage l JOIN task t USING (task_id) JOIN task_detail d USING (task_id)
  LEFT JOIN task was ON was.task_id = t.cloned_from
  LEFT JOIN task_detail o ON o.task_id = t.cloned_from
 ORDER BY """
