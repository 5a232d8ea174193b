"""What a waiting task waits for: locks, its plugin, or its next attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.core.v1 import task_service_pb2
from entrepot_core.domain.words import instant
from entrepot_core.store import limits, plugins, waits

if TYPE_CHECKING:
    from entrepot_core.store.database import Cursor
    from entrepot_core.store.tasks import TaskRow

__all__ = ["blocker_of", "blockers", "other_blockers"]

_Blocker = task_service_pb2.Task.Blocker


def blockers(
    cursor: Cursor, row: TaskRow, *, counted: bool = False
) -> list[task_service_pb2.Task.Blocker]:
    """What a task waits for; empty if it does not wait, or will start in a moment."""
    if row.state != "waiting":
        return []
    if row.waits_for:
        return [blocker_of(block) for block in waits.of(cursor, [row.task_id], counted=counted)]
    return other_blockers(cursor, row)


def blocker_of(block: waits.Block) -> task_service_pb2.Task.Blocker:
    """The message of a task that is in the way of another."""
    task = f"tasks/{block.task_id}"
    blocker = _Blocker(
        cause=_Blocker.CAUSE_HELD if block.is_holder else _Blocker.CAUSE_QUEUED,
        resource=block.resource,
        task=task,
        message=f"{task} holds {block.resource}."
        if block.is_holder
        else f"{task} is before it in the queue for {block.resource}.",
        task_type=block.task_type,
        place=block.place,
        waiting=f"tasks/{block.waiting}",
    )
    blocker.since.FromDatetime(block.since)
    return blocker


def other_blockers(cursor: Cursor, row: TaskRow) -> list[task_service_pb2.Task.Blocker]:
    """What a task waits for that waits and has all its locks."""
    if row.parked and row.not_before is not None:
        blocker = _Blocker(waiting=row.name, cause=_Blocker.CAUSE_BACK_OFF)
        reason = f" {row.lost_attempts[-1].reason}" if row.lost_attempts else ""
        blocker.message = f"The next attempt starts at {instant(row.not_before)}.{reason}"
        if row.lost_attempts:
            blocker.since.FromDatetime(row.lost_attempts[-1].ended_at)
        return [blocker]
    return [*_of_plugin(cursor, row), *(_of_limits(cursor, row) if row.may_be_limited else ())]


def _of_plugin(cursor: Cursor, row: TaskRow) -> list[task_service_pb2.Task.Blocker]:
    if row.executor == plugins.CORE:
        return []
    blocker = _Blocker(waiting=row.name, resource=f"plugins/{row.executor}")
    plugin = plugins.find(cursor, row.executor)
    if plugin is None or plugin.health != "serving":
        why = f" {plugin.message}" if plugin is not None and plugin.message else ""
        blocker.cause = _Blocker.CAUSE_PLUGIN_DOWN
        blocker.message = f"The plugin {row.executor} does not take tasks.{why}"
        for began, ended in waits.outages(cursor, row.executor, row.created_at):
            if ended is None:
                blocker.since.FromDatetime(began)
        return [blocker]
    most = plugins.most_running(cursor, plugin)
    if plugin.running >= most:
        blocker.cause = _Blocker.CAUSE_PLUGIN_FULL
        why = "as many as it can"
        if most < plugin.max_running:
            why = "as many as one plugin may; what dispatchers have room for besides is for others"
        blocker.message = f"The plugin {row.executor} runs {plugin.running} attempts, {why}."
        return [blocker]
    return []


def _of_limits(cursor: Cursor, row: TaskRow) -> list[task_service_pb2.Task.Blocker]:
    return [
        _Blocker(
            waiting=row.name,
            cause=_Blocker.CAUSE_LIMIT,
            resource=limit.full_name,
            message=f"As many tasks run as {limit.full_name}, set by an operator, allows: "
            f"{limit.max_running}.",
        )
        for limit in limits.full(cursor, row.task_id)
    ]
