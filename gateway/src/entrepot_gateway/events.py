"""The events of all tasks, from one stream of core to any number of listeners in this process.

Nothing here holds a thread of core per listener. The stream is resumed after the last number that
was seen; the latest events are kept, so that a listener who was away can resume too. Who follows
all of them has nothing of its own but a position.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import contextmanager, suppress
from itertools import takewhile
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import structlog

from entrepot.core.v1 import task_service_pb2, task_service_pb2_grpc
from entrepot_gateway.core import service_error
from entrepot_gateway.watch import keep_watching

if TYPE_CHECKING:
    from collections.abc import Iterator

    from entrepot_gateway.core import Core

    WatchCall = grpc.aio.UnaryStreamCall[
        task_service_pb2.WatchEventsRequest, task_service_pb2.WatchEventsResponse
    ]

log = structlog.get_logger()

Event = task_service_pb2.Event
WatchEventsResponse = task_service_pb2.WatchEventsResponse

TERMINAL_KINDS = frozenset({Event.KIND_COMPLETED, Event.KIND_FAILED, Event.KIND_CANCELED})

KEPT = 10_000
# Those who follow all events are woken in rounds, so that their number does not decide what is
# left of the processor for others.
PAUSE_SECONDS_EACH = 0.0002
# How long a client that was away waits for the stream to core, and for what it has missed.
CONNECT_SECONDS = 5.0
REACH_SECONDS = 10.0
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


class Follower:
    """Wakes one who follows all events, when there are new ones."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()

    async def wait(self, seconds: float) -> bool:
        """Whether there is something to see, at the latest after this long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        was_woken = self._woken.is_set()
        self._woken.clear()
        return was_woken

    def wake(self) -> None:
        """Say that there is something to see."""
        self._woken.set()


class EventHub:
    """Takes the stream apart for its listeners."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._stub = task_service_pb2_grpc.TaskServiceStub(core.channel)
        self._by_task: dict[str, set[Listener]] = {}
        self._of_all: set[Follower] = set()
        self._next_round = 0.0
        self._round: asyncio.TimerHandle | None = None
        self._reaching = asyncio.Lock()
        self._opened = asyncio.Event()
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._closed = False
        # Number of the last event of the log, as far as known.
        self.last: int | None = None

    async def run(self) -> None:
        """Follow core until canceled."""
        await keep_watching("events", self._open, self.receive, self.broken)

    def receive(self, response: task_service_pb2.WatchEventsResponse) -> None:
        """Hand out a batch."""
        if self.last is None and not response.events:
            # The first message of a stream that begins now: zero if nothing has happened yet.
            self.last = response.last_sequence or None
        for event in response.events:
            self.last = event.sequence
            self._kept.append(event)
            for listener in self._by_task.get(event.task, ()):
                listener.offer(event)
        self._opened.set()
        if response.events and self._of_all:
            self._wake_all()

    def broken(self, code: grpc.StatusCode | None = None) -> None:
        """The stream was lost: if nobody knows how it resumes, listeners look for themselves."""
        if code == grpc.StatusCode.OUT_OF_RANGE:
            # Away for longer than core keeps events: begin anew with what happens from now on.
            self.last = None
            self._kept.clear()
            self._opened.clear()
        if self.last is None:
            for listener in self._listeners():
                listener.miss()
        self._wake_now()

    @property
    def is_closed(self) -> bool:
        """Whether the process is ending."""
        return self._closed

    def close(self) -> None:
        """End every listener; there will be no more events."""
        self._closed = True
        for listener in self._listeners():
            listener.close()
        self._wake_now()

    @contextmanager
    def follow(self) -> Iterator[Follower]:
        """One who follows all events, by `since`."""
        follower = Follower()
        if self._closed:
            follower.wake()
        self._of_all.add(follower)
        try:
            yield follower
        finally:
            self._of_all.discard(follower)

    @contextmanager
    def listen(self, task: str, *, only_last: bool = False) -> Iterator[Listener]:
        """A listener to the events of one task."""
        listener = Listener(only_last=only_last)
        if self._closed:
            listener.close()
        group = self._by_task.setdefault(task, set())
        group.add(listener)
        try:
            yield listener
        finally:
            group.discard(listener)
            if not group:
                self._by_task.pop(task, None)

    def since(self, sequence: int, task: str = "") -> list[Event] | None:
        """What happened after an event; None if that is not among what is kept."""
        if self.last is None or sequence > self.last:
            return None
        first = self._kept[0].sequence if self._kept else self.last + 1
        if sequence < first - 1:
            return None
        # Most are close to the end.
        newest = takewhile(lambda event: event.sequence > sequence, reversed(self._kept))
        found = [event for event in newest if not task or event.task == task]
        found.reverse()
        return found

    async def reach(self, sequence: int) -> None:
        """Have what `since` needs to go on after an event, unless that is too many to keep.

        However many come back at once, as after a restart, core is asked once.

        Raises:
            ServiceError: EVENT_OUT_OF_RANGE, if core cannot go on there either.

        """
        with suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._opened.wait()
        async with self._reaching:
            if self.since(sequence) is not None:
                return
            stream = self.open(sequence)
            try:
                async with asyncio.timeout(REACH_SECONDS):
                    # The first message says that core can.
                    first = await stream.read()
                    if isinstance(first, WatchEventsResponse):
                        await self._extend(stream, sequence, [*first.events])
            except TimeoutError:
                log.warning("events.unreached", sequence=sequence)
            except grpc.RpcError as error:
                raise service_error(error) from None
            finally:
                stream.cancel()

    async def _extend(self, stream: WatchCall, sequence: int, found: list[Event]) -> None:
        if self.last is None:
            return
        first = self._kept[0].sequence if self._kept else self.last + 1
        missing = first - 1 - sequence
        if missing > KEPT - len(self._kept):
            return
        while len(found) < missing:
            response = await stream.read()
            if not isinstance(response, WatchEventsResponse):
                return
            found += response.events
        if (self._kept[0].sequence if self._kept else self.last + 1) == first:
            self._kept.extendleft(reversed(found[:missing]))

    def open(self, after: int) -> WatchCall:
        """A stream of core's, after an event."""
        request = task_service_pb2.WatchEventsRequest(after_sequence=after)
        return self._stub.WatchEvents(request, metadata=self._core.own)

    def _wake_all(self) -> None:
        loop = asyncio.get_running_loop()
        wait = self._next_round - loop.time()
        if wait <= 0:
            self._wake_now()
        elif self._round is None:
            self._round = loop.call_later(wait, self._wake_now)

    def _wake_now(self) -> None:
        if self._round is not None:
            self._round.cancel()
            self._round = None
        for follower in self._of_all:
            follower.wake()
        if self._of_all:
            pause = PAUSE_SECONDS_EACH * len(self._of_all)
            self._next_round = asyncio.get_running_loop().time() + pause

    def _listeners(self) -> list[Listener]:
        return [one for group in self._by_task.values() for one in group]

    def _open(self) -> WatchCall:
        return self.open(-1 if self.last is None else self.last)
