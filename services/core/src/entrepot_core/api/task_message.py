"""Tasks as messages, from rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from google.rpc import status_pb2

from entrepot.core.v1 import difference_pb2, task_service_pb2
from entrepot.type.v1 import diagnostic_pb2, progress_pb2
from entrepot.type.v1.unit_failure_pb2 import UnitFailure
from entrepot_core.plugins.descriptors import pack_bytes

if TYPE_CHECKING:
    from entrepot_core.store.events import EventRow
    from entrepot_core.store.tasks import TaskRow

__all__ = [
    "EVENT_KINDS",
    "PRIORITIES",
    "STATES",
    "event_message",
    "policy",
    "progress_messages",
    "task_message",
]

# A counter that has not moved for so long is not on its way anywhere.
_STILL = timedelta(seconds=30)

STATES = {
    "waiting": task_service_pb2.Task.STATE_WAITING,
    "running": task_service_pb2.Task.STATE_RUNNING,
    "completed": task_service_pb2.Task.STATE_COMPLETED,
    "failed": task_service_pb2.Task.STATE_FAILED,
    "canceled": task_service_pb2.Task.STATE_CANCELED,
}
# By class, as the store has it.
PRIORITIES = (
    task_service_pb2.Task.PRIORITY_INTERACTIVE,
    task_service_pb2.Task.PRIORITY_NORMAL,
    task_service_pb2.Task.PRIORITY_BACKGROUND,
)
EVENT_KINDS = {
    "created": task_service_pb2.Event.KIND_CREATED,
    "started": task_service_pb2.Event.KIND_STARTED,
    "progressed": task_service_pb2.Event.KIND_PROGRESSED,
    "lost": task_service_pb2.Event.KIND_LOST,
    "cancel_requested": task_service_pb2.Event.KIND_CANCEL_REQUESTED,
    "completed": task_service_pb2.Event.KIND_COMPLETED,
    "failed": task_service_pb2.Event.KIND_FAILED,
    "canceled": task_service_pb2.Event.KIND_CANCELED,
}


def task_message(
    row: TaskRow, blocked_by: list[task_service_pb2.Task.Blocker] | None = None
) -> task_service_pb2.Task:
    """The message of a task."""
    task = task_service_pb2.Task(
        name=row.name,
        task_type=row.task_type,
        state=STATES[row.state],
        parameters=pack_bytes(row.parameters_type, row.parameters),
        resources=row.resources,
        progress=progress_messages(row, datetime.now(UTC)),
        warnings=[diagnostic_pb2.Diagnostic.FromString(one) for one in row.warnings],
        differences=[difference_pb2.Difference.FromString(one) for one in row.differences],
        changed=row.changed,
        created_resource=row.created_resource,
        attempt=row.attempt,
        cancel_requested=row.cancel_requested,
        dry_run=row.is_dry_run,
        principal=row.principal,
        cloned_from=f"tasks/{row.cloned_from}" if row.cloned_from else "",
        blocked_by=blocked_by or [],
        request_id=row.request_id,
        absorbed_requests=row.absorbed,
        priority=PRIORITIES[row.priority],
        effective_priority=PRIORITIES[row.effective_priority],
        commits=f"tasks/{row.commits}" if row.commits else "",
        on_failure=policy(keeps_going=row.keeps_going),
        failures=row.failures,
        only_failures=row.only_failures,
        unchanged_reason=row.unchanged_reason,
    )
    if row.error is not None:
        task.error.CopyFrom(status_pb2.Status.FromString(row.error))
    if row.result_type:
        task.result.CopyFrom(pack_bytes(row.result_type, row.result))
    for lost in row.lost_attempts:
        message = task.lost_attempts.add(
            number=lost.number, reason=lost.reason, counted=lost.is_counted
        )
        message.end_time.FromDatetime(lost.ended_at)
        if lost.started_at is not None:
            message.start_time.FromDatetime(lost.started_at)
    task.create_time.FromDatetime(row.created_at)
    if row.started_at is not None and row.attempt:
        task.start_time.FromDatetime(row.started_at)
    if row.ended_at is not None:
        task.end_time.FromDatetime(row.ended_at)
    return task


def policy(*, keeps_going: bool) -> UnitFailure.Policy.ValueType:
    """What becomes of a task if units fail."""
    return UnitFailure.POLICY_KEEP_GOING if keeps_going else UnitFailure.POLICY_STRICT


def progress_messages(row: TaskRow, now: datetime) -> list[progress_pb2.Progress]:
    """The counters of a task. Of one that is over, or still, nobody says how fast it goes on."""
    found = [progress_pb2.Progress.FromString(one) for one in row.counters]
    for one in found:
        moved = one.change_time.ToDatetime(UTC)
        if row.state != "running" or now - moved > _STILL:
            one.ClearField("rate")
            one.ClearField("estimated_end_time")
    return found


def event_message(row: EventRow) -> task_service_pb2.Event:
    """The message of an event."""
    event = task_service_pb2.Event(
        sequence=row.number, task=f"tasks/{row.task_id}", kind=EVENT_KINDS[row.kind]
    )
    event.time.FromDatetime(row.happened_at)
    return event
