"""Events for browsers and scripts: server-sent events from the hub, resumable by number."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, cast

import grpc
import structlog
from starlette.responses import Response

from entrepot.core.v1 import task_service_pb2
from entrepot_gateway.events import KEPT, TERMINAL_KINDS, Event
from entrepot_gateway.problem import refuse
from entrepot_gateway.tasks import Task, is_over
from entrepot_rpc.address import href
from entrepot_rpc.errors import ServiceError
from entrepot_rpc.field import enum_words

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import Message, Receive, Scope, Send

    from entrepot_gateway.call import Call
    from entrepot_gateway.core import Core, Credentials
    from entrepot_gateway.events import EventHub
    from entrepot_gateway.tasks import Tasks

    WatchResponse = task_service_pb2.WatchEventsResponse

KEEP_ALIVE_SECONDS = 15.0
# A quiet task is looked at after so many of them.
LOOK_AFTER = 20
# A client that takes nothing for so long is left.
STALLED_SECONDS = 60.0
# Clients who are further behind than the hub remembers have a stream of core's each, in turn.
FAR_BEHIND_AT_ONCE = 8
SHARED_READS = 1_000
# A number of core's, of 64 bits.
_MOST = 2**63 - 1
KEEP_ALIVE = ": still here\n\n"

log = structlog.get_logger()

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
        self._shared = SharedReads(tasks)
        self._tasks = tasks
        self._texts: dict[int, str] = {}
        self._far_behind = asyncio.Semaphore(FAR_BEHIND_AT_ONCE)

    async def of_task(self, call: Call, name: str) -> Response:
        """GET of a task's events: its state now, then every change, to its end."""
        after = _last_event_id(call)
        # Core decides here whether the caller may see the task; the stream itself is shared.
        task = await self._tasks.read(name, call)
        if after is not None:
            with suppress(ServiceError):
                # Who comes from too far away begins with the state as it is now.
                await self._hub.reach(after)
            if is_over(task) and self._hub.since(after, name) == []:
                # The one answer after which a browser does not come back.
                return Response(status_code=204)
        return EventResponse(self._follow(call, name, after))

    async def of_all(self, call: Call) -> Response:
        """GET of the events of all tasks."""
        after = _last_event_id(call)
        request = task_service_pb2.ListTasksRequest(page_size=1)
        await self._core.call(_LIST, request, call.credentials)
        gap: ServiceError | None = None
        if after is not None:
            try:
                await self._hub.reach(after)
            except ServiceError as error:
                if error.reason != "EVENT_OUT_OF_RANGE":
                    raise
                gap = error
        return EventResponse(self._follow_all(call, after, gap))

    async def _follow(self, call: Call, name: str, after: int | None) -> AsyncGenerator[str, None]:
        with self._hub.listen(name) as listener:
            missed = self._hub.since(after, name) if after is not None else None
            events, seen = missed or [], after or 0
            look, quiet, text = missed is None, 0, ""
            while True:
                if look:
                    # Whatever has a lower number is in what is read now.
                    number = self._hub.last or 0
                    task = await self._tasks.read(name, call)
                    text = _json(call.encoder.message(task))
                    yield _event(_KIND_OF_STATE.get(task.state, 0), number, text)
                    if is_over(task):
                        return
                    seen = number
                events = _without_repeats([event for event in events if event.sequence > seen])
                if events:
                    text = await self._shared.read(name, call, events[-1].sequence)
                for event in events:
                    seen = event.sequence
                    yield _event(event.kind, seen, text)
                    if event.kind in TERMINAL_KINDS:
                        return
                events = await listener.wait(KEEP_ALIVE_SECONDS)
                look, listener.missed = listener.missed, False
                if listener.closed and not events:
                    return
                quiet = 0 if events or look else quiet + 1
                if quiet:
                    yield KEEP_ALIVE
                if quiet == LOOK_AFTER:
                    # The end of a task is not left to events alone.
                    quiet, look = 0, is_over(await self._tasks.read(name, call))

    async def _follow_all(
        self, call: Call, after: int | None, gap: ServiceError | None
    ) -> AsyncGenerator[str, None]:
        with self._hub.follow() as follower:
            yield KEEP_ALIVE
            if after is None:
                after = self._hub.last or 0
            elif gap is not None:
                after = self._hub.last or int(gap.metadata.get("newest", "0"))
                yield _reset(gap, after)
            elif self._hub.since(after) is None:
                async with self._far_behind:
                    async for events in self._older(after):
                        after = events[-1].sequence
                        yield self._batch(call, events)
            while not self._hub.is_closed:
                # As long as nothing has ever happened, there is nothing to be behind.
                is_new = not after and self._hub.last is None
                found = [] if is_new else self._hub.since(after)
                if found is None:
                    # Too slow, or core has lost events: who comes back is told.
                    return
                if found:
                    after = found[-1].sequence
                    yield self._batch(call, found)
                elif not await follower.wait(KEEP_ALIVE_SECONDS):
                    yield KEEP_ALIVE

    async def _older(self, after: int) -> AsyncGenerator[list[Event], None]:
        """Batches that are too old for the hub, until it can go on."""
        stream = self._hub.open(after)
        try:
            while self._hub.since(after) is None:
                response = await stream.read()
                if response is grpc.aio.EOF:
                    return
                if events := list(cast("WatchResponse", response).events):
                    after = events[-1].sequence
                    yield events
        finally:
            stream.cancel()

    def _batch(self, call: Call, events: list[Event]) -> str:
        """The text of events: each is written once, for all who follow."""
        texts = self._texts
        if len(texts) > KEPT:
            texts.clear()
        for event in events:
            if event.sequence not in texts:
                data = call.encoder.message(event) | {"href": href(event.task)}
                texts[event.sequence] = _event(event.kind, event.sequence, _json(data))
        return "".join([texts[event.sequence] for event in events])


class SharedReads:
    """Tasks as JSON, read once after each event for all who follow with the same credentials."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._reads: dict[tuple[str, Credentials], tuple[int, asyncio.Future[str]]] = {}

    async def read(self, name: str, call: Call, sequence: int) -> str:
        """The task as it was when it was known that this event had happened, or later."""
        key = (name, call.credentials)
        known = self._reads.get(key)
        if known is None or known[0] < sequence:
            while len(self._reads) >= SHARED_READS:
                del self._reads[next(iter(self._reads))]
            known = (sequence, asyncio.ensure_future(self._read(name, call)))
            self._reads[key] = known
        # The reading goes on for the others if this one leaves.
        return await asyncio.shield(known[1])

    async def _read(self, name: str, call: Call) -> str:
        return _json(call.encoder.message(await self._tasks.read(name, call)))


class EventResponse(Response):
    """A stream of events, until it ends, or its client leaves or does not read for a while."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[str, None]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what happens."""
        del scope
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_has_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            leaving.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send(self, send: Send) -> None:
        # Whoever listens comes back by itself, and is told then what is wrong.
        with suppress(ServiceError, grpc.RpcError):
            async with aclosing(self._events) as events:
                async for text in events:
                    try:
                        async with asyncio.timeout(STALLED_SECONDS):
                            await send(_piece(text))
                    except TimeoutError:
                        log.info("events.client_does_not_read", seconds=STALLED_SECONDS)
                        return
        await send(_piece(""))


def _piece(text: str) -> Message:
    return {"type": "http.response.body", "body": text.encode(), "more_body": bool(text)}


async def _has_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _event(kind: int, sequence: int, text: str) -> str:
    # Before the first event of all there is no number to go on from.
    number = f"id: {sequence}\n" if sequence else ""
    return f"event: {_WORDS.get(kind, 'changed')}\n{number}data: {text}\n\n"


def _reset(gap: ServiceError, after: int) -> str:
    data = {
        "message": gap.message,
        "oldest": int(gap.metadata.get("oldest", "0")),
        "newest": int(gap.metadata.get("newest", "0")),
    }
    return f"event: reset\nid: {after}\ndata: {_json(data)}\n\n"


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
    # A browser that was given an address with `after` sends both when it comes back.
    given = call.take("after")
    header = call.request.headers.get("last-event-id")
    text = header or given
    for name in call.query:
        raise refuse(f"#/{name}", f"There is no parameter {name}.", "FIELD_UNKNOWN", "query")
    if text is None:
        return None
    pointer, where = ("#/Last-Event-ID", "header") if header else ("#/after", "query")
    if not text.isascii() or not text.isdecimal():
        raise refuse(pointer, "The id of an event is a number.", where=where)
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(_MOST)) or int(digits) > _MOST:
        raise refuse(pointer, f"The id of an event is at most {_MOST}.", where=where)
    return int(digits)
