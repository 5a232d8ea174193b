"""Why a task waits, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.core.v1 import task_service_pb2
from entrepot_core.store import plugins, tasks

if TYPE_CHECKING:
    from entrepot_core.store.database import Cursor
    from entrepot_core.store.tasks import TaskRow

__all__ = ["blockers"]

_Blocker = task_service_pb2.Task.Blocker


def blockers(cursor: Cursor, row: TaskRow) -> list[task_service_pb2.Task.Blocker]:
    """What a task waits for; empty if it does not wait, or will start in a moment."""
    if row.state != "waiting":
        return []
    if row.waits_for:
        return [_of_lock(blocker) for blocker in tasks.blockers(cursor, row.task_id)]
    if row.parked and row.not_before is not None:
        when = row.not_before.strftime("%H:%M:%S UTC")
        reason = f" {row.lost_attempts[-1].reason}" if row.lost_attempts else ""
        return [
            _Blocker(
                cause=_Blocker.CAUSE_BACK_OFF,
                message=f"The next attempt starts at {when}.{reason}",
            )
        ]
    if row.executor == plugins.CORE:
        return []
    plugin = plugins.find(cursor, row.executor)
    name = f"plugins/{row.executor}"
    if plugin is None or plugin.health != "serving":
        why = f" {plugin.message}" if plugin is not None and plugin.message else ""
        return [
            _Blocker(
                cause=_Blocker.CAUSE_PLUGIN_DOWN,
                resource=name,
                message=f"The plugin {row.executor} does not take tasks.{why}",
            )
        ]
    if plugin.running >= plugin.max_running:
        return [
            _Blocker(
                cause=_Blocker.CAUSE_PLUGIN_FULL,
                resource=name,
                message=f"The plugin {row.executor} runs {plugin.running} attempts, "
                "as many as it can.",
            )
        ]
    return []


def _of_lock(blocker: tasks.Blocker) -> task_service_pb2.Task.Blocker:
    task = f"tasks/{blocker.task}"
    if blocker.is_holder:
        return _Blocker(
            cause=_Blocker.CAUSE_HELD,
            resource=blocker.resource,
            task=task,
            message=f"{task} holds {blocker.resource}.",
        )
    return _Blocker(
        cause=_Blocker.CAUSE_QUEUED,
        resource=blocker.resource,
        task=task,
        message=f"{task} is before it in the queue for {blocker.resource}.",
    )
