"""Tasks over HTTP: typed collections, waiting, clones, commits of plans.

Which types there are, plugins say.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from entrepot.core.v1 import task_service_pb2
from entrepot_gateway.answer import JsonAnswer
from entrepot_gateway.events import TERMINAL_KINDS
from entrepot_gateway.problem import refuse
from entrepot_gateway.transcode import read_key, two_ids
from entrepot_rpc.address import href
from entrepot_rpc.duration import parse_nanos
from entrepot_rpc.errors import Code, ServiceError

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor
    from starlette.responses import Response

    from entrepot_gateway.binding import Binding
    from entrepot_gateway.call import Call
    from entrepot_gateway.core import Core
    from entrepot_gateway.events import EventHub
    from entrepot_gateway.transcode import Transcoder

Task = task_service_pb2.Task
CreateTaskRequest = task_service_pb2.CreateTaskRequest
CloneTaskRequest = task_service_pb2.CloneTaskRequest
CommitPlanRequest = task_service_pb2.CommitPlanRequest

LONGEST_WAIT_SECONDS = 600.0
# Waiting does not rest on events alone.
LOOK_SECONDS = 15.0
# How long to leave core alone when it does not answer a waiting client.
PAUSE_SECONDS = 0.5

_OVER = frozenset({Task.STATE_COMPLETED, Task.STATE_FAILED, Task.STATE_CANCELED})
_RPCS: dict[str, MethodDescriptor] = dict(
    task_service_pb2.DESCRIPTOR.services_by_name["TaskService"].methods_by_name
)


def is_over(task: Task) -> bool:
    """Say whether a task has ended."""
    return task.state in _OVER


class Tasks:
    """Answers everything below /api/v3/tasks/ that needs more than its annotation says."""

    def __init__(self, core: Core, hub: EventHub, transcoder: Transcoder) -> None:
        self._core = core
        self._hub = hub
        self._transcoder = transcoder

    async def create(self, call: Call, plugin: str, collection: str) -> Response:
        """POST to a collection: the body is the parameters, flat."""
        task_type = call.catalog.task_type(plugin, collection)
        request = CreateTaskRequest()
        wait = self._read_options(call, request)
        _refuse_query(call)
        parameters = task_type.parameters()
        reader = call.decoder()
        reader.message(await call.document(), parameters)
        _point_to_query(reader.errors)
        reader.finish()
        request.parameters.Pack(parameters, deterministic=True)
        return await self._create(call, request, wait)

    async def create_any(self, call: Call) -> Response:
        """POST to /tasks/: the parameters say with "@type" what they are."""
        request = CreateTaskRequest()
        wait = self._read_options(call, request)
        _refuse_query(call)
        reader = call.decoder()
        document = await call.document()
        wait = _wait_seconds(document.pop("wait", None) or None, wait)
        _refuse_another_id(call, document, request)
        reader.message(document, request, partial=False)
        reader.finish()
        return await self._create(call, request, wait)

    async def list(self, call: Call, task_type: str) -> Response:
        """GET of a collection, or of all tasks of a plugin."""
        request = task_service_pb2.ListTasksRequest(task_type=task_type)
        reader = call.decoder("query")
        if "task_type" in call.query:
            reader.wrong("#/task_type", "FIELD_UNKNOWN", "The address says the task type already.")
        reader.message(call.query, request, given=("task_type",), partial=True)
        reader.finish()
        response = await self._core.call(_RPCS["ListTasks"], request, call.credentials)
        return JsonAnswer(call.encoder.answer(response))

    async def get(self, binding: Binding, values: dict[str, str], call: Call) -> Response:
        """GET of a task; with `wait`, once it is over or the time is up."""
        wait = _wait_seconds(call.take("wait"), 0.0)
        request = await self._transcoder.request(binding, values, call)
        if wait > 0 and (task := await self.finished(values["name"], call, wait)):
            found = task_service_pb2.GetTaskResponse(task=task)
            return self._transcoder.response(binding, found, call)
        response = await self._core.call(binding.rpc, request, call.credentials)
        return self._transcoder.response(binding, response, call)

    async def cancel(self, binding: Binding, values: dict[str, str], call: Call) -> Response:
        """PATCH of a task's state."""
        request = cast(
            "task_service_pb2.CancelTaskRequest",
            await self._transcoder.request(binding, values, call),
        )
        if request.state != Task.STATE_CANCELED:
            raise refuse(
                "#/state", 'A task can be changed in one way only: {"state": "canceled"}.'
            )
        response = await self._core.call(binding.rpc, request, call.credentials)
        return self._transcoder.response(binding, response, call)

    async def clone(self, values: dict[str, str], call: Call) -> Response:
        """POST to a task's clones: the body replaces fields of its parameters, flat."""
        request = CloneTaskRequest(name=values["name"])
        wait = self._read_options(call, request)
        _refuse_query(call)
        document = await call.document()
        if document:
            original = await self.read(values["name"], call)
            plugin, _, collection = original.task_type.partition("/")
            overrides = call.catalog.task_type(plugin, collection).parameters()
            reader = call.decoder()
            named = reader.message(document, overrides, partial=True)
            _point_to_query(reader.errors)
            reader.finish()
            request.overrides.Pack(overrides, deterministic=True)
            request.override_paths.extend(named)
        response = cast(
            "task_service_pb2.CloneTaskResponse",
            await self._core.call(_RPCS["CloneTask"], request, call.credentials),
        )
        return await self._created(call, response.task, wait, is_new=not response.absorbed)

    async def commit(self, values: dict[str, str], call: Call) -> Response:
        """POST to a dry run's commits: its plan is all there is to say."""
        request = CommitPlanRequest(name=values["name"])
        wait = self._read_options(call, request)
        _refuse_query(call)
        reader = call.decoder()
        document = await call.document()
        wait = _wait_seconds(document.pop("wait", None) or None, wait)
        _refuse_another_id(call, document, request)
        reader.message(document, request, given=("name",), partial=False)
        reader.finish()
        response = cast(
            "task_service_pb2.CommitPlanResponse",
            await self._core.call(_RPCS["CommitPlan"], request, call.credentials),
        )
        return await self._created(call, response.task, wait)

    async def read(self, name: str, call: Call) -> Task:
        """The task as the caller may see it."""
        request = task_service_pb2.GetTaskRequest(name=name)
        response = await self._core.call(_RPCS["GetTask"], request, call.credentials)
        return cast("task_service_pb2.GetTaskResponse", response).task

    async def finished(
        self, name: str, call: Call, seconds: float, since: int | None = None
    ) -> Task | None:
        """The task once it is over or the time is up; None if core did not answer in all that.

        `since`: the number of an event before the task was made, if known.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        task: Task | None = None
        with self._hub.listen(name, only_last=True) as listener:
            if since is not None and not self._may_have_ended(name, since):
                await listener.wait(min(seconds, LOOK_SECONDS))
            while True:
                pause = LOOK_SECONDS
                try:
                    task = await self.read(name, call)
                except ServiceError as error:
                    if error.code != Code.UNAVAILABLE:
                        raise
                    pause = PAUSE_SECONDS
                left = end - loop.time()
                if (task and is_over(task)) or left <= 0 or listener.closed:
                    return task
                await listener.wait(min(left, pause))

    def _may_have_ended(self, name: str, since: int) -> bool:
        events = self._hub.since(since, name)
        return events is None or any(event.kind in TERMINAL_KINDS for event in events)

    async def _create(self, call: Call, request: CreateTaskRequest, wait: float) -> Response:
        since = self._hub.last
        response = cast(
            "task_service_pb2.CreateTaskResponse",
            await self._core.call(_RPCS["CreateTask"], request, call.credentials),
        )
        if request.validate_only:
            return JsonAnswer(call.encoder.message(response.task))
        return await self._created(call, response.task, wait, since, is_new=not response.absorbed)

    async def _created(
        self,
        call: Call,
        task: Task,
        wait: float,
        since: int | None = None,
        *,
        is_new: bool = True,
    ) -> Response:
        if wait > 0 and not is_over(task):
            task = await self.finished(task.name, call, wait, since) or task
        headers = {"Location": href(task.name)}
        return JsonAnswer(call.encoder.message(task), 201 if is_new else 200, headers)

    @staticmethod
    def _read_options(
        call: Call, request: CreateTaskRequest | CloneTaskRequest | CommitPlanRequest
    ) -> float:
        """Fill in what the query and the header fields say; the time to wait comes back."""
        wait = _wait_seconds(call.take("wait"), 0.0)
        options = {name: call.query.pop(name) for name in _OPTIONS & call.query.keys()}
        reader = call.decoder("query")
        reader.message(options, request, partial=True)
        reader.finish()
        read_key(call, request)
        return wait


_OPTIONS = frozenset(
    {"absorb", "dry_run", "on_failure", "only_failures", "priority", "request_id", "validate_only"}
)


def _wait_seconds(text: object, default: float) -> float:
    if text is None:
        return default
    try:
        seconds = parse_nanos(str(text)) / 1e9
    except ValueError as error:
        raise refuse("#/wait", f"{error}.", where="query") from None
    if seconds > LONGEST_WAIT_SECONDS:
        raise refuse("#/wait", "Wait at most 10m, then ask again.", where="query")
    return seconds


def _refuse_query(call: Call) -> None:
    for name in call.query:
        raise refuse(
            f"#/{name}",
            f"There is no parameter {name}. Fields of the task belong into the body.",
            "FIELD_UNKNOWN",
            "query",
        )


def _refuse_another_id(
    call: Call, document: dict[str, Any], request: CreateTaskRequest | CommitPlanRequest
) -> None:
    """Refuse a request id of the body that is not that of the query or the header field."""
    known = request.request_id
    if known and document.get("request_id", known) not in (known, [known]):
        raise two_ids("header" if "idempotency-key" in call.request.headers else "query", "")


def _point_to_query(errors: list[Any]) -> None:
    """Tell those who put an option of the request among the fields of the task."""
    for index, error in enumerate(errors):
        name = error.pointer.removeprefix("#/")
        if error.reason == "FIELD_UNKNOWN" and name in _OPTIONS | {"wait"}:
            detail = f"There is no field {name}: it goes into the query, ?{name}=…"
            errors[index] = type(error)(error.pointer, error.reason, detail)
