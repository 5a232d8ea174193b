"""Streams of events to any number of watchers; none has a thread while there is nothing to say.

grpc's threaded server gives a generator a thread for as long as its stream is open. Here a stream
is an object that knows what it has sent; a few threads send what is due, to whom it is due.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any

import structlog

from entrepot_core.domain.errors import TooManyWaitingError
from entrepot_rpc.server import known
from entrepot_rpc.status import to_grpc_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import grpc
    from google.protobuf.message import Message

    from entrepot_core.domain.errors import ServiceError
    from entrepot_core.store.events import EventRow

__all__ = ["MAX_STREAMS", "EventStream", "EventStreams"]

log = structlog.get_logger()

# How many streams may be open in one process.
MAX_STREAMS = 2_000
# Each stream whose client does not read holds one of these, until it is cut off.
_SENDERS = 32
_STALLED_SECONDS = 30.0
# Between two messages of a stream where nothing happens.
_QUIET_SECONDS = 30.0
# Those that are open longest, as gateways are, are told at once; together the others take a share
# of the processor that does not grow with their number.
_AT_ONCE = 8
_PAUSE_SECONDS_EACH = 0.0005
_TICK_SECONDS = 5.0


class EventStream(ABC):
    """One open stream."""

    # The task that it is about; empty: all.
    task_id = ""

    def __init__(self, context: grpc.ServicerContext, send: Callable[[Any], None]) -> None:
        """`send` takes a message, or None for the end; it returns when the message has left."""
        self.context = context
        self._send = send
        self._ending = threading.Lock()
        # Number of the last event that the stream has been told of.
        self.heard = 0
        # Only EventStreams touches these, under its lock.
        self.is_due = True
        self.sends_since: float | None = None
        self.quiet_since = time.monotonic()

    @abstractmethod
    def advance(self) -> bool | None:
        """Sends what is due; True if there is more, None at the end of the stream."""

    def rest(self) -> None:  # noqa: B027  not every stream has one
        """Sends a sign of life."""

    def send(self, message: Message) -> None:
        """Sends a message; returns when it has left, or the client has."""
        self._send(message)

    def end(self, error: ServiceError | None = None) -> None:
        """Ends the stream, once, with an error if there is one."""
        if not self._ending.acquire(blocking=False):
            return
        if error is not None:
            status = to_grpc_status(error)
            self.context.set_code(status.code)
            self.context.set_details(status.details)
            self.context.set_trailing_metadata(status.trailing_metadata)
        self._send(None)


class EventStreams:
    """All open streams of a process, told about what happens by one thread."""

    def __init__(self) -> None:
        # In the order in which they were opened.
        self._streams: dict[EventStream, None] = {}
        self._by_task: dict[str, set[EventStream]] = {}
        self._changed = threading.Condition()
        self._pool = ThreadPoolExecutor(_SENDERS, thread_name_prefix="events")
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._news = False
        self._is_closed = False
        self._next_round = 0.0

    def start(self) -> None:
        """Starts to tell."""
        self._thread.start()

    def close(self) -> None:
        """Ends all streams."""
        with self._changed:
            self._is_closed = True
            streams = list(self._streams)
            self._streams.clear()
            self._changed.notify_all()
        for stream in streams:
            stream.end()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def open(self, stream: EventStream) -> None:
        """Adds a stream, which advances at once; TooManyWaitingError if there are many."""
        with self._changed:
            if len(self._streams) >= MAX_STREAMS:
                raise TooManyWaitingError(
                    f"This server has {MAX_STREAMS} open streams already, as many as it allows. "
                    "Follow events through a gateway, which needs one stream for all of its "
                    "clients, or start another api process.",
                    retry_after_seconds=5,
                )
            if self._is_closed:
                stream.end()
                return
            self._streams[stream] = None
            if stream.task_id:
                self._by_task.setdefault(stream.task_id, set()).add(stream)
            self._submit(stream, time.monotonic())
        if not stream.context.add_callback(lambda: self._forget(stream)):
            self._forget(stream)

    def tell(self, events: Iterable[EventRow]) -> None:
        """Says what has happened."""
        with self._changed:
            for stream in self._streams:
                if not stream.task_id:
                    stream.is_due = self._news = True
            for event in events:
                for stream in self._by_task.get(event.task_id, ()):
                    stream.heard = event.number
                    stream.is_due = self._news = True
            if self._news:
                self._changed.notify_all()

    @property
    def count(self) -> int:
        """How many are open."""
        return len(self._streams)

    def _forget(self, stream: EventStream) -> None:
        with self._changed:
            self._streams.pop(stream, None)
            if (watching := self._by_task.get(stream.task_id)) is not None:
                watching.discard(stream)
                if not watching:
                    del self._by_task[stream.task_id]

    def _run(self) -> None:
        next_tick = time.monotonic() + _TICK_SECONDS
        while True:
            with self._changed:
                if self._is_closed:
                    return
                now = time.monotonic()
                wake = min(next_tick, self._next_round) if self._is_behind() else next_tick
                if not self._news:
                    self._changed.wait(max(0.0, wake - now))
                if self._is_closed:
                    return
                self._news = False
                self._begin()
            if time.monotonic() >= next_tick:
                next_tick = time.monotonic() + _TICK_SECONDS
                self._tick()

    def _is_behind(self) -> bool:
        # Streams that may have been left out of the last round.
        return len(self._streams) > _AT_ONCE and any(
            stream.is_due and stream.sends_since is None for stream in self._streams
        )

    def _begin(self) -> None:
        """Has those sent to who are due and whose turn it is. Under the lock."""
        now = time.monotonic()
        most = _AT_ONCE
        if now >= self._next_round:
            most = len(self._streams)
            self._next_round = now + _PAUSE_SECONDS_EACH * max(0, most - _AT_ONCE)
        for stream in islice(self._streams, most):
            if stream.is_due and stream.sends_since is None:
                self._submit(stream, now)

    def _submit(self, stream: EventStream, now: float) -> None:
        stream.is_due = False
        stream.sends_since = stream.quiet_since = now
        self._pool.submit(self._work, stream)

    def _work(self, stream: EventStream) -> None:
        more: bool | None = None
        try:
            more = stream.advance()
            if more is None:
                stream.end()
        except Exception as error:  # noqa: BLE001  what the interceptor does for other calls
            stream.end(known(error, "TaskService"))
        finally:
            if more is None:
                self._forget(stream)
            self._rested(stream, more=bool(more))

    def _rested(self, stream: EventStream, *, more: bool = False) -> None:
        with self._changed:
            stream.sends_since = None
            stream.is_due = stream.is_due or more
            if stream.is_due:
                self._news = True
                self._changed.notify_all()

    def _tick(self) -> None:
        now = time.monotonic()
        with self._changed:
            stalled = [
                stream
                for stream in self._streams
                if stream.sends_since is not None and now - stream.sends_since > _STALLED_SECONDS
            ]
            for stream in self._streams:
                if stream.sends_since is None and now - stream.quiet_since > _QUIET_SECONDS:
                    stream.sends_since = stream.quiet_since = now
                    self._pool.submit(self._rest, stream)
        for stream in stalled:
            log.info("events.client_does_not_read", seconds=_STALLED_SECONDS)
            # Nothing more gentle ends a send that waits for room.
            stream.context.cancel()

    def _rest(self, stream: EventStream) -> None:
        try:
            stream.rest()
        finally:
            self._rested(stream)
