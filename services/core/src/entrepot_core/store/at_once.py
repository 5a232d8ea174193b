"""Tasks that are over when they are stored: begun, planned and completed in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_core.domain.task import State
from entrepot_core.store import prepared, small_change
from entrepot_core.store.small_change import Plan
from entrepot_core.store.tasks import TaskRow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from entrepot_core.store.database import Cursor
    from entrepot_core.store.small_change import Made, SmallChange
    from entrepot_core.store.tasks import NewTask

__all__ = ["Begun", "begin", "complete"]

_STORED = (
    "store_completed(%s::uuid, %s, %s, %s, %s, %s::uuid, %s::bigint[], %s::boolean[],"
    " %s, %s, %s, %s, %s, %s::bytea, %s, %s, %s::bytea, %s, %s, %s, %s::bytea[], %s::bytea[])"
)
_STORE = f"SELECT {_STORED}"
# One statement of both: a round trip costs about as much as what it does here.
_WRITE_AND_STORE = f"SELECT {small_change.WRITE}, {_STORED}"


@dataclass(frozen=True, slots=True)
class Begun:
    """A task whose locks this transaction holds, and what its change does."""

    at: datetime
    # By their numbers, as the locks of the task.
    resources: Sequence[int]
    plan: Plan


def begin(cursor: Cursor, task: NewTask, change: SmallChange) -> Begun | None:
    """Locks and plans; None if something is in the way, and then nothing has been done.

    The resources stay locked until the transaction ends.
    """
    prepared.execute(
        cursor,
        "SELECT * FROM plan_at_once(%s, %s::text[], %s::boolean[], %s::text[], %s, %s, %s, %s,"
        " %s::text[], %s::bytea[], %s)",
        (
            task.task_type,
            list(task.locks),
            list(task.locks.values()),
            list(task.needed),
            task.principal,
            task.request_id,
            change.plugin,
            change.repository,
            [name for name, _ in change.units],
            [digest for _, digest in change.units],
            change.is_removal,
        ),
    )
    row = cursor.fetchone()
    return None if row is None else Begun(row[0], row[1], Plan._make(row[2:]))


def complete(
    cursor: Cursor, task: NewTask, begun: Begun, made: Made, differences: Sequence[bytes]
) -> TaskRow:
    """Writes the version, if there is another, and stores the task as completed; returns it.

    `differences` are serialised messages. Raises what makes the transaction run again if the same
    request has made a task meanwhile.
    """
    result, plan = made.result, begun.plan
    written = small_change.written(plan, task.task_id) if plan.is_change else ()
    prepared.execute(
        cursor,
        _WRITE_AND_STORE if plan.is_change else _STORE,
        (
            *written,
            task.task_id,
            task.executor,
            task.task_type,
            task.priority,
            task.is_repeatable,
            task.cloned_from,
            list(begun.resources),
            list(task.locks.values()),
            begun.at,
            result.created_resource,
            result.changed,
            task.principal,
            task.request_id,
            task.request_digest,
            task.declaration_id,
            task.parameters_type,
            task.parameters,
            task.origin_request,
            task.keeps_going,
            task.only_failures,
            list(differences),
            list(task.warnings),
        ),
    )
    *_, ended_at = cursor.fetchone() or ()
    return TaskRow(
        task_id=task.task_id,
        task_type=task.task_type,
        executor=task.executor,
        state=State.COMPLETED.value,
        waits_for=0,
        parked=False,
        priority=task.priority,
        effective_priority=task.priority,
        attempt=1,
        cancel_requested=False,
        is_repeatable=task.is_repeatable,
        is_dry_run=False,
        changed=result.changed,
        created_resource=result.created_resource,
        cloned_from=task.cloned_from,
        created_at=begun.at,
        first_ready_at=begun.at,
        not_before=None,
        started_at=begun.at,
        ended_at=ended_at,
        principal=task.principal,
        request_id=task.request_id,
        declaration_id=task.declaration_id,
        parameters_type=task.parameters_type,
        parameters=task.parameters,
        result_type="",
        result=b"",
        error=None,
        differences=list(differences),
        counters=[],
        warnings=list(task.warnings),
        origin_request=task.origin_request,
        keeps_going=task.keeps_going,
        only_failures=task.only_failures,
        resources=sorted(task.locks),
    )
