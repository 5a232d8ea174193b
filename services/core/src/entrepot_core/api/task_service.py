"""TaskService: creating, reading, watching, canceling, planning and cloning tasks."""

from __future__ import annotations

import threading
import time
import uuid
from typing import TYPE_CHECKING, Any, cast

from entrepot.core.v1 import task_service_pb2, task_service_pb2_grpc
from entrepot.type.v1.unit_failure_pb2 import UnitFailure
from entrepot_core.api.blocking import blockers
from entrepot_core.api.explanation import explain
from entrepot_core.api.lineage import read_lineage
from entrepot_core.api.paging import (
    check_id,
    page_size,
    read_token,
    token_error,
    write_token,
)
from entrepot_core.api.plan_reader import read_plan, read_units
from entrepot_core.api.task_creator import Order
from entrepot_core.api.task_message import PRIORITIES, STATES, policy, task_message
from entrepot_core.api.task_streams import AllEvents, OneTask, TaskReader
from entrepot_core.domain.errors import (
    CanceledError,
    FieldInvalidError,
    ResourceNotFoundError,
    TaskFinishedError,
    TaskTypeUnknownError,
    TooManyWaitingError,
)
from entrepot_core.domain.names import resource_name
from entrepot_core.plugins import binding, messages
from entrepot_core.plugins.descriptors import pack_bytes
from entrepot_core.store import queue, task_failures, task_logs, tasks
from entrepot_rpc.server import non_blocking
from entrepot_rpc.status import to_status

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc
    from google.protobuf import any_pb2, duration_pb2
    from google.protobuf.message import Message

    from entrepot.type.v1.log_line_pb2 import LogLine
    from entrepot_core.api.event_log import EventLog
    from entrepot_core.api.task_creator import Stored, TaskCreator
    from entrepot_core.plugins.registry import Registry
    from entrepot_core.store.database import Database
    from entrepot_core.store.tasks import TaskRow

__all__ = ["MAX_WAITING", "TaskService"]

# How many calls may wait in one process; each has a thread.
MAX_WAITING = 128

_MAX_WAIT_SECONDS = 600
# Numbers of attempts, lines and failures are shorter.
_DIGITS = 10
# A change that nobody told of is seen after this long.
_LOOK_SECONDS = 2.0

_STATE_NAMES = {number: name for name, number in STATES.items()}


class TaskService(task_service_pb2_grpc.TaskServiceServicer):
    """See task_service.proto."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        creator: TaskCreator,
        log: EventLog,
        wake: Callable[[], None],
        principal_of: Callable[[grpc.ServicerContext], str],
    ) -> None:
        """`principal_of` says who calls."""
        self._database = database
        self._principal_of = principal_of
        self._registry = registry
        self._creator = creator
        self._log = log
        self._wake = wake
        self._waiting = threading.BoundedSemaphore(MAX_WAITING)
        self._reader = TaskReader(database)

    def CreateTask(
        self, request: task_service_pb2.CreateTaskRequest, context: grpc.ServicerContext
    ) -> task_service_pb2.CreateTaskResponse:
        order = Order(
            parameters=request.parameters,
            principal=self._principal_of(context),
            request_id=request.request_id,
            is_dry_run=request.dry_run,
            absorbs=request.absorb,
            priority=_priority(request.priority),
            keeps_going=_keeps_going(request.on_failure),
        )
        wait = _wait_seconds(request.wait)
        if request.validate_only:
            return task_service_pb2.CreateTaskResponse(task=self._hypothetical(order))
        stored = self._creator.create(order)
        return task_service_pb2.CreateTaskResponse(
            task=self._stored(stored, wait, context), absorbed=stored.is_absorbed
        )

    def GetTask(
        self, request: task_service_pb2.GetTaskRequest, context: grpc.ServicerContext
    ) -> task_service_pb2.GetTaskResponse:
        task_id = read_name(request.name)
        return task_service_pb2.GetTaskResponse(
            task=self._read(task_id, _wait_seconds(request.wait), context)
        )

    def ListTasks(
        self, request: task_service_pb2.ListTasksRequest, context: grpc.ServicerContext
    ) -> task_service_pb2.ListTasksResponse:
        size = page_size(request.page_size)
        before = read_token(request.page_token)
        if before:
            check_id(before)
        with self._database.statements() as cursor:
            rows = tasks.page(cursor, self._filter(request), size + 1, before or None)
            found = [task_message(row, blockers(cursor, row)) for row in rows[:size]]
        token = write_token(rows[size - 1].task_id) if len(rows) > size else ""
        return task_service_pb2.ListTasksResponse(tasks=found, next_page_token=token)

    def ExplainTask(
        self, request: task_service_pb2.ExplainTaskRequest, context: grpc.ServicerContext
    ) -> task_service_pb2.ExplainTaskResponse:
        task_id = read_name(request.task, "task")
        with self._database.transaction() as cursor:
            explanation = explain(cursor, tasks.get(cursor, task_id))
        return task_service_pb2.ExplainTaskResponse(explanation=explanation)

    def ListTaskLogs(
        self, request: task_service_pb2.ListTaskLogsRequest, context: grpc.ServicerContext
    ) -> task_service_pb2.ListTaskLogsResponse:
        task_id = read_name(request.parent, "parent")
        size = page_size(request.page_size)
        if request.attempt < 0:
            raise FieldInvalidError.at(
                "attempt", "is the number of an attempt, from 1; 0 for all."
            )
        after = _read_position(request.page_token, 2)
        with self._database.transaction() as cursor:
            tasks.is_over(cursor, task_id)
            found = task_logs.page(
                cursor, task_id, size + 1, (after[0], after[1]), request.attempt
            )
        response = task_service_pb2.ListTaskLogsResponse()
        for one in found[:size]:
            line = response.lines.add(message=one.message, attempt=one.attempt)
            line.level = cast("LogLine.Level.ValueType", one.level)
            line.time.FromDatetime(one.logged_at)
        if len(found) > size:
            last = found[size - 1]
            response.next_page_token = write_token(f"{last.attempt} {last.number}")
        return response

    def ListTaskFailures(
        self, request: task_service_pb2.ListTaskFailuresRequest, context: grpc.ServicerContext
    ) -> task_service_pb2.ListTaskFailuresResponse:
        task_id = read_name(request.parent, "parent")
        size = page_size(request.page_size)
        (after,) = _read_position(request.page_token, 1)
        with self._database.transaction() as cursor:
            tasks.is_over(cursor, task_id)
            found = task_failures.page(cursor, task_id, size + 1, after)
        return task_service_pb2.ListTaskFailuresResponse(
            failures=[UnitFailure.FromString(failure) for _, failure in found[:size]],
            next_page_token=write_token(str(found[size - 1][0])) if len(found) > size else "",
        )

    # Streams of grpc's other kind: they have no thread.
    @non_blocking
    def WatchTask(  # type: ignore[override]
        self,
        request: task_service_pb2.WatchTaskRequest,
        context: grpc.ServicerContext,
        send: Callable[[Any], None],
    ) -> None:
        task_id = read_name(request.name)
        stream = OneTask(context, send, self._reader, task_id, request.after_sequence)
        self._log.streams.open(stream)

    @non_blocking
    def WatchEvents(  # type: ignore[override]
        self,
        request: task_service_pb2.WatchEventsRequest,
        context: grpc.ServicerContext,
        send: Callable[[Any], None],
    ) -> None:
        after = request.after_sequence
        if after < -1:
            raise FieldInvalidError.at("after_sequence", "is the number of an event, or -1.")
        if after >= 0:
            self._log.check(after)
        self._log.streams.open(AllEvents(context, send, self._log, after))

    def CancelTask(
        self, request: task_service_pb2.CancelTaskRequest, context: grpc.ServicerContext
    ) -> task_service_pb2.CancelTaskResponse:
        task_id = read_name(request.name)
        if request.state != task_service_pb2.Task.STATE_CANCELED:
            raise FieldInvalidError.at("state", "can only be set to STATE_CANCELED.")
        error = CanceledError(
            f"{self._principal_of(context)} canceled the task before it had started."
        )
        with self._database.transaction() as cursor:
            state = queue.cancel(cursor, task_id, to_status(error).SerializeToString())
            if state is None:
                raise ResourceNotFoundError.of_name(request.name)
            if state in {"completed", "failed"}:
                raise TaskFinishedError(
                    f"{request.name} is {state} and cannot be canceled.", metadata={"state": state}
                )
        self._wake()
        return task_service_pb2.CancelTaskResponse(task=self._read(task_id, 0, context))

    def CloneTask(
        self, request: task_service_pb2.CloneTaskRequest, context: grpc.ServicerContext
    ) -> task_service_pb2.CloneTaskResponse:
        task_id = read_name(request.name)
        with self._database.statements() as cursor:
            row = tasks.get(cursor, task_id)
        wait = _wait_seconds(request.wait)
        priority = _priority(request.priority)
        if request.only_failures:
            with self._database.transaction() as cursor:
                kept = task_failures.count(cursor, task_id)
            _check_failures(row, kept)
        created = self._creator.create(
            Order(
                parameters=self._overridden(row, request),
                principal=self._principal_of(context),
                request_id=request.request_id,
                is_dry_run=request.dry_run,
                keeps_going=_keeps_going(request.on_failure, default=row.keeps_going),
                cloned_from=task_id,
                absorbs=request.absorb,
                priority=row.priority if priority is None else priority,
                only_failures=request.only_failures,
            )
        )
        return task_service_pb2.CloneTaskResponse(
            task=self._stored(created, wait, context), absorbed=created.is_absorbed
        )

    def GetLineage(
        self, request: task_service_pb2.GetLineageRequest, context: grpc.ServicerContext
    ) -> task_service_pb2.GetLineageResponse:
        task_id = read_name(request.name)
        with self._database.transaction() as cursor:
            lineage = read_lineage(cursor, self._registry.catalog(), task_id)
        return task_service_pb2.GetLineageResponse(lineage=lineage)

    def GetPlan(
        self, request: task_service_pb2.GetPlanRequest, context: grpc.ServicerContext
    ) -> task_service_pb2.GetPlanResponse:
        task_id = read_name(request.name)
        with self._database.transaction() as cursor:
            return task_service_pb2.GetPlanResponse(plan=read_plan(cursor, task_id))

    def ListPlannedUnits(
        self, request: task_service_pb2.ListPlannedUnitsRequest, context: grpc.ServicerContext
    ) -> task_service_pb2.ListPlannedUnitsResponse:
        task_id = read_name(request.parent, "parent")
        with self._database.transaction() as cursor:
            return read_units(cursor, task_id, request)

    def CommitPlan(
        self, request: task_service_pb2.CommitPlanRequest, context: grpc.ServicerContext
    ) -> task_service_pb2.CommitPlanResponse:
        task_id = read_name(request.name)
        wait = _wait_seconds(request.wait)
        with self._database.transaction() as cursor:
            row = tasks.get(cursor, task_id)
        created = self._creator.create(
            Order(
                parameters=pack_bytes(row.parameters_type, row.parameters),
                principal=self._principal_of(context),
                request_id=request.request_id,
                commits=task_id,
            )
        )
        return task_service_pb2.CommitPlanResponse(task=self._stored(created, wait, context))

    def _stored(
        self, stored: Stored, wait_seconds: float, context: grpc.ServicerContext
    ) -> task_service_pb2.Task:
        if stored.done is not None:
            return task_message(stored.done.row)
        return self._read(stored.task_id, wait_seconds, context)

    def _read(
        self, task_id: str, wait_seconds: float, context: grpc.ServicerContext
    ) -> task_service_pb2.Task:
        if wait_seconds > 0:
            with _room(self._waiting, "waiting calls", MAX_WAITING):
                self._wait_for_end(task_id, wait_seconds, context)
        with self._database.statements() as cursor:
            row = tasks.get(cursor, task_id)
            return task_message(row, blockers(cursor, row, counted=True))

    def _wait_for_end(
        self, task_id: str, wait_seconds: float, context: grpc.ServicerContext
    ) -> None:
        deadline = time.monotonic() + wait_seconds
        watch = self._log.watch(task_id)
        try:
            while context.is_active() and not self._log.is_closed:
                with self._database.statements() as cursor:
                    is_over = tasks.is_over(cursor, task_id)
                left = deadline - time.monotonic()
                if is_over or left <= 0:
                    return
                # Progress is no reason to look.
                look = time.monotonic() + min(left, _LOOK_SECONDS)
                while not watch.has_ended and (pause := look - time.monotonic()) > 0:
                    watch.wait(pause)
                if watch.has_ended:
                    return
        finally:
            self._log.unwatch(task_id, watch)

    def _hypothetical(self, order: Order) -> task_service_pb2.Task:
        parameters = self._creator.check(order)
        return task_service_pb2.Task(
            task_type=parameters.view.name,
            parameters=parameters.pack(),
            resources=sorted(binding.locks(parameters.references)),
            warnings=parameters.warnings,
            dry_run=order.is_dry_run,
            on_failure=policy(keeps_going=order.keeps_going),
            principal=order.principal,
        )

    def _filter(self, request: task_service_pb2.ListTasksRequest) -> tasks.TaskFilter:
        state = ""
        if request.state != task_service_pb2.Task.STATE_UNSPECIFIED:
            if request.state not in _STATE_NAMES:
                raise FieldInvalidError.at("state", "is not a state of tasks.")
            state = _STATE_NAMES[request.state]
        is_type = "/" in request.task_type
        return tasks.TaskFilter(
            state=state,
            task_type=request.task_type if is_type else "",
            plugin="" if is_type else request.task_type,
            resource=_named(request.resource, "resource"),
            cloned_from=read_name(request.cloned_from, "cloned_from")
            if request.cloned_from
            else "",
            created_resource=_named(request.created_resource, "created_resource"),
            commits=read_name(request.commits, "commits") if request.commits else "",
            priority=_priority(request.priority),
        )

    def _overridden(self, row: TaskRow, request: task_service_pb2.CloneTaskRequest) -> any_pb2.Any:
        packed = pack_bytes(row.parameters_type, row.parameters)
        try:
            self._registry.task_type(row.parameters_type)
        except TaskTypeUnknownError as error:
            raise TaskTypeUnknownError(
                f"{row.name} cannot be cloned: no registered plugin has {row.task_type} any more. "
                f"Plugins: {error.metadata['plugins']}.",
                metadata={**error.metadata, "task_type": row.task_type},
            ) from error
        if not request.HasField("overrides") and not request.override_paths:
            return packed
        view = self._registry.task_type(row.parameters_type)
        declaration = self._registry.plugin(view.plugin)
        message = declaration.unpack(packed, row.parameters_type, "parameters")
        overrides: Message = type(message)()
        if request.HasField("overrides"):
            overrides = declaration.unpack(request.overrides, row.parameters_type, "overrides")
        names = {field.name for field, _ in overrides.ListFields()} | set(request.override_paths)
        for name in sorted(names):
            if name not in message.DESCRIPTOR.fields_by_name:
                raise FieldInvalidError.at(
                    "override_paths", f"{row.parameters_type} has no field {name}."
                )
            message.ClearField(name)
        message.MergeFrom(overrides)
        return pack_bytes(row.parameters_type, messages.serialize(message))


def read_name(name: str, field: str = "name") -> str:
    """The id in "tasks/<id>", also given alone or as href. Raises FieldInvalidError."""
    task_id = name.strip().rstrip("/").rpartition("/")[2]
    if not _is_id(task_id):
        raise FieldInvalidError.at(field, f'"{name}" is not the name of a task: tasks/<id>.')
    return str(uuid.UUID(task_id))


def _named(name: str, field: str) -> str:
    """The resource of a filter in full; empty if it does not restrict."""
    return resource_name(name, field=field) if name else ""


def _keeps_going(asked: UnitFailure.Policy.ValueType, *, default: bool = False) -> bool:
    if asked not in UnitFailure.Policy.values():
        raise FieldInvalidError.at("on_failure", "is neither strict nor keep_going.")
    if asked == UnitFailure.POLICY_UNSPECIFIED:
        return default
    return asked == UnitFailure.POLICY_KEEP_GOING


def _check_failures(row: TaskRow, kept: int) -> None:
    """Raises FieldInvalidError unless the failures of a task can be done again by themselves."""
    if not row.is_over:
        raise FieldInvalidError.at(
            "only_failures", f"needs a task that is over; {row.name} is not."
        )
    if not row.failures:
        raise FieldInvalidError.at("only_failures", f"no unit failed in {row.name}.")
    if kept < row.failures:
        raise FieldInvalidError.at(
            "only_failures",
            f"{row.failures:,} units failed in {row.name}, and only {kept:,} are kept: repeat "
            "the whole task. What is there already is not fetched again.",
        )


def _read_position(token: str, numbers: int) -> list[int]:
    words = read_token(token).split(" ") if token else ["0"] * numbers
    if len(words) != numbers or not all(one.isdecimal() and len(one) < _DIGITS for one in words):
        raise token_error()
    return [int(one) for one in words]


def _is_id(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def _wait_seconds(wait: duration_pb2.Duration) -> float:
    seconds = wait.ToNanoseconds() / 1e9
    if not 0 <= seconds <= _MAX_WAIT_SECONDS:
        raise FieldInvalidError.at("wait", "must be from 0 seconds to 10 minutes.")
    return seconds


def _priority(asked: int) -> int | None:
    """The class that a request asks for, None if it asks for none. Raises FieldInvalidError."""
    if asked == task_service_pb2.Task.PRIORITY_UNSPECIFIED:
        return None
    if asked not in PRIORITIES:
        raise FieldInvalidError.at(
            "priority", f"{asked} is none: give interactive, normal or background."
        )
    return PRIORITIES.index(asked)


class _room:  # noqa: N801  reads as a statement
    """A place among a bounded number, or an error that says so."""

    def __init__(self, places: threading.BoundedSemaphore, what: str, most: int) -> None:
        self._places = places
        self._what = what
        self._most = most

    def __enter__(self) -> None:
        if not self._places.acquire(blocking=False):
            raise TooManyWaitingError(
                f"This server has {self._most} {self._what} already, as many as it allows. "
                "Ask again without waiting, or start another api process.",
                retry_after_seconds=5,
            )

    def __exit__(self, *_: object) -> None:
        self._places.release()
