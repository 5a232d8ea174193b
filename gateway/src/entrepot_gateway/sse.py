"""Events for browsers and scripts: server-sent events from the hub, resumable by number."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import grpc
from starlette.responses import Response, StreamingResponse

from entrepot.core.v1 import task_service_pb2, task_service_pb2_grpc
from entrepot_gateway.core import service_error
from entrepot_gateway.events import TERMINAL_KINDS, Event
from entrepot_gateway.problem import refuse
from entrepot_gateway.tasks import Task, is_over
from entrepot_rpc.address import href
from entrepot_rpc.errors import ServiceError
from entrepot_rpc.field import enum_words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from entrepot_gateway.call import Call
    from entrepot_gateway.core import Core
    from entrepot_gateway.events import EventHub
    from entrepot_gateway.tasks import Tasks

    WatchResponse = task_service_pb2.WatchEventsResponse
    WatchCall = grpc.aio.UnaryStreamCall[task_service_pb2.WatchEventsRequest, WatchResponse]

KEEP_ALIVE_SECONDS = 15.0
KEEP_ALIVE = ": still here\n\n"

_KIND_OF_STATE = {
    Task.STATE_WAITING: Event.KIND_CREATED,
    Task.STATE_RUNNING: Event.KIND_STARTED,
    Task.STATE_COMPLETED: Event.KIND_COMPLETED,
    Task.STATE_FAILED: Event.KIND_FAILED,
    Task.STATE_CANCELED: Event.KIND_CANCELED,
}
_LIST = task_service_pb2.DESCRIPTOR.services_by_name["TaskService"].methods_by_name["ListTasks"]
_WORDS = enum_words(Event.DESCRIPTOR.enum_types_by_name["Kind"])


class EventStreams:
    """Answers the event streams: of one task, and of all."""

    def __init__(self, core: Core, hub: EventHub, tasks: Tasks) -> None:
        self._core = core
        self._hub = hub
        self._tasks = tasks
        self._stub = task_service_pb2_grpc.TaskServiceStub(core.channel)

    async def of_task(self, call: Call, name: str) -> Response:
        """GET of a task's events: its state now, then every change, to its end."""
        after = _last_event_id(call)
        # Core decides here whether the caller may see the task; the stream itself is shared.
        task = await self._tasks.read(name, call)
        if after is not None and is_over(task) and self._hub.since(after, name) == []:
            # The one answer after which a browser does not come back.
            return Response(status_code=204)
        return _stream(self._follow(call, name, after))

    async def of_all(self, call: Call) -> Response:
        """GET of the events of all tasks."""
        after = _last_event_id(call)
        request = task_service_pb2.ListTasksRequest(page_size=1)
        await self._core.call(_LIST, request, call.credentials)
        older, first = None, []
        if after is not None and self._hub.since(after) is None and after != self._hub.last:
            older = self._open(call, after)
            if self._hub.last is not None and after < self._hub.last:
                # There is something to come, or core says why not while that can be answered.
                first = await _first_events(older)
        return _stream(self._follow_all(call, after, older, first))

    def _open(self, call: Call, after: int) -> WatchCall:
        request = task_service_pb2.WatchEventsRequest(after_sequence=after)
        return self._stub.WatchEvents(request, metadata=call.credentials)

    async def _follow(self, call: Call, name: str, after: int | None) -> AsyncIterator[str]:
        with self._hub.listen(name) as listener:
            missed = self._hub.since(after, name) if after is not None else None
            events, seen = missed or [], after or 0
            look = missed is None
            task = Task()
            while True:
                if look:
                    # Whatever has a lower number is in what is read now.
                    number = self._hub.last or 0
                    task = await self._tasks.read(name, call)
                    yield self._task_event(call, _KIND_OF_STATE.get(task.state, 0), number, task)
                    if is_over(task):
                        return
                    seen = max(seen, number)
                events = _without_repeats([event for event in events if event.sequence > seen])
                if events:
                    task = await self._tasks.read(name, call)
                for event in events:
                    seen = event.sequence
                    yield self._task_event(call, event.kind, seen, task)
                    if event.kind in TERMINAL_KINDS:
                        return
                events = await listener.wait(KEEP_ALIVE_SECONDS)
                look, listener.missed = listener.missed, False
                if listener.closed and not events:
                    return
                if not events and not look:
                    yield KEEP_ALIVE
                    # The end of a task is not left to events alone.
                    look = is_over(await self._tasks.read(name, call))

    async def _follow_all(
        self, call: Call, after: int | None, older: WatchCall | None, first: list[Event]
    ) -> AsyncIterator[str]:
        with self._hub.listen() as listener:
            yield KEEP_ALIVE
            seen = -1 if after is None else after
            if after is not None:
                async for event in self._catch_up(after, older, first):
                    seen = event.sequence
                    yield _event(event.kind, seen, _of_event(call, event))
            # Who is too slow comes back with the number of the last event that it has.
            while not listener.missed:
                events = await listener.wait(KEEP_ALIVE_SECONDS)
                for event in events:
                    if event.sequence > seen:
                        seen = event.sequence
                        yield _event(event.kind, seen, _of_event(call, event))
                if listener.closed:
                    return
                if not events:
                    yield KEEP_ALIVE

    async def _catch_up(
        self, after: int, older: WatchCall | None, first: list[Event]
    ) -> AsyncIterator[Event]:
        """The events between a number and what the hub will say; from core if they are too old."""
        if older is None:
            for event in self._hub.since(after) or ():
                yield event
            return
        try:
            for event in first:
                yield event
                after = event.sequence
            # Before the hub's first event it has nothing, and we stay here.
            while self._hub.last is None or after < self._hub.last:
                response = await older.read()
                if response is grpc.aio.EOF:
                    return
                for event in cast("WatchResponse", response).events:
                    yield event
                    after = event.sequence
        finally:
            older.cancel()

    @staticmethod
    def _task_event(call: Call, kind: int, sequence: int, task: Task) -> str:
        return _event(kind, sequence, call.encoder.message(task))


async def _first_events(stream: WatchCall) -> list[Event]:
    """The first batch that has events."""
    try:
        while True:
            response = await stream.read()
            if response is grpc.aio.EOF:
                return []
            if events := list(cast("WatchResponse", response).events):
                return events
    except grpc.RpcError as error:
        raise service_error(error) from None


def _event(kind: int, sequence: int, data: dict[str, Any]) -> str:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"event: {_WORDS.get(kind, 'changed')}\nid: {sequence}\ndata: {text}\n\n"


def _of_event(call: Call, event: Event) -> dict[str, Any]:
    return call.encoder.message(event) | {"href": href(event.task)}


def _without_repeats(events: list[Event]) -> list[Event]:
    """Of several progress events in a row only the last: they all show the same state."""
    progressed = Event.KIND_PROGRESSED
    return [
        event
        for index, event in enumerate(events)
        if [event.kind, *(following.kind for following in events[index + 1 : index + 2])]
        != [progressed, progressed]
    ]


def _last_event_id(call: Call) -> int | None:
    text = call.request.headers.get("last-event-id") or call.take("after")
    for name in call.query:
        raise refuse(f"#/{name}", f"There is no parameter {name}.", "FIELD_UNKNOWN", "query")
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 18:  # noqa: PLR2004  below 2^63
        raise refuse("#/Last-Event-ID", "The id of an event is a number.", where="header")
    return int(text)


async def _until_it_fails(events: AsyncIterator[str]) -> AsyncIterator[str]:
    """Whoever listens comes back by itself, and is told then what is wrong."""
    with suppress(ServiceError, grpc.RpcError):
        async for text in events:
            yield text


def _stream(events: AsyncIterator[str]) -> Response:
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        _until_it_fails(events), media_type="text/event-stream", headers=headers
    )
