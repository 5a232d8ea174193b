"""The events of all tasks, from one stream of core to any number of listeners in this process.

Nothing here holds a thread of core per listener. The stream is resumed after the last number that
was seen; the latest events are kept, so that a listener who was away can resume too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import grpc

from entrepot.core.v1 import task_service_pb2, task_service_pb2_grpc
from entrepot_gateway.watch import keep_watching

if TYPE_CHECKING:
    from collections.abc import Iterator

    from entrepot_gateway.core import Core

Event = task_service_pb2.Event

TERMINAL_KINDS = frozenset({Event.KIND_COMPLETED, Event.KIND_FAILED, Event.KIND_CANCELED})

KEPT = 10_000
# Events that a listener may be behind before it is told to look for itself.
BACKLOG = 1_000


class Listener:
    """Events for one listener, in order."""

    def __init__(self, *, only_last: bool = False) -> None:
        self._only_last = only_last
        self._events: deque[Event] = deque()
        self._woken = asyncio.Event()
        # Events may have been missed: read the state anew.
        self.missed = False
        self.closed = False

    async def wait(self, seconds: float) -> list[Event]:
        """Events since the last call; none after this long, when missed, or at the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        if not self.closed:
            self._woken.clear()
        events = list(self._events)
        self._events.clear()
        return events

    def offer(self, event: Event) -> None:
        """Add an event."""
        if self._only_last and event.kind not in TERMINAL_KINDS:
            return
        if len(self._events) >= BACKLOG:
            self.miss()
            return
        self._events.append(event)
        self._woken.set()

    def miss(self) -> None:
        """Say that events may have been missed."""
        self._events.clear()
        self.missed = True
        self._woken.set()

    def close(self) -> None:
        """Say that no more come."""
        self.closed = True
        self._woken.set()


class EventHub:
    """Takes the stream apart for its listeners."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._stub = task_service_pb2_grpc.TaskServiceStub(core.channel)
        self._by_task: dict[str, set[Listener]] = {}
        self._of_all: set[Listener] = set()
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._closed = False
        # Number of the last event seen; None before the first.
        self.last: int | None = None

    async def run(self) -> None:
        """Follow core until canceled."""
        await keep_watching("events", self._open, self.receive, self.broken)

    def receive(self, response: task_service_pb2.WatchEventsResponse) -> None:
        """Hand out a batch."""
        for event in response.events:
            self.last = event.sequence
            self._kept.append(event)
            for listener in (*self._by_task.get(event.task, ()), *self._of_all):
                listener.offer(event)

    def broken(self, code: grpc.StatusCode | None = None) -> None:
        """The stream was lost: if nobody knows how it resumes, listeners look for themselves."""
        if code == grpc.StatusCode.OUT_OF_RANGE:
            # Away for longer than core keeps events: begin anew with what happens from now on.
            self.last = None
            self._kept.clear()
        if self.last is None:
            for listener in self._listeners():
                listener.miss()

    def close(self) -> None:
        """End every listener; there will be no more events."""
        self._closed = True
        for listener in self._listeners():
            listener.close()

    @contextmanager
    def listen(self, task: str = "", *, only_last: bool = False) -> Iterator[Listener]:
        """A listener to the events of one task, or of all."""
        listener = Listener(only_last=only_last)
        if self._closed:
            listener.close()
        group = self._by_task.setdefault(task, set()) if task else self._of_all
        group.add(listener)
        try:
            yield listener
        finally:
            group.discard(listener)
            if task and not group:
                self._by_task.pop(task, None)

    def since(self, sequence: int, task: str = "") -> list[Event] | None:
        """What happened after an event; None if that is longer ago than what is kept."""
        if self.last is None or not self._kept:
            return None
        if sequence < self._kept[0].sequence - 1 or sequence > self.last:
            return None
        return [
            event
            for event in self._kept
            if event.sequence > sequence and (not task or event.task == task)
        ]

    def _listeners(self) -> list[Listener]:
        return [*self._of_all, *(one for group in self._by_task.values() for one in group)]

    def _open(self) -> object:
        after = -1 if self.last is None else self.last
        request = task_service_pb2.WatchEventsRequest(after_sequence=after)
        return self._stub.WatchEvents(request, metadata=self._core.own)
