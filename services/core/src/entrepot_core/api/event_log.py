"""The events of all tasks, in memory: read once per process, however many watch."""

from __future__ import annotations

import threading
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

import structlog

from entrepot_core.domain.errors import Code, ServiceError
from entrepot_core.domain.task import State
from entrepot_core.store import events
from entrepot_core.store.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from entrepot_core.store.database import Database
    from entrepot_core.store.events import EventRow

__all__ = ["EventLog", "Watch"]

log = structlog.get_logger()

_KEPT = 20_000
_BATCH = 1_000
_ENDS = {State.COMPLETED.value, State.FAILED.value, State.CANCELED.value}


class Watch:
    """What happens to one task from now on. Holds no connection and no thread but the caller's."""

    def __init__(self) -> None:
        self._happened = threading.Event()
        self.last = 0
        self.has_ended = False

    def wait(self, seconds: float) -> bool:
        """Waits for something to happen; False if nothing did."""
        happened = self._happened.wait(seconds)
        self._happened.clear()
        return happened

    def tell(self, event: EventRow | None) -> None:
        """Wakes who waits, about an event, or to look for itself."""
        if event is not None:
            self.last = max(self.last, event.number)
            self.has_ended = self.has_ended or event.kind in _ENDS
        self._happened.set()


class EventLog:
    """Follows the log by one listening connection and fans it out."""

    def __init__(self, database: Database, work_heard: Callable[[], None]) -> None:
        """`work_heard` is told when there may be events without a number."""
        self._database = database
        self._work_heard = work_heard
        self._recent: deque[EventRow] = deque(maxlen=_KEPT)
        self._last = -1
        self._grown = threading.Condition()
        self._watches: dict[str, set[Watch]] = {}
        self._is_closed = False
        self._listener = Listener(
            database.url, (events.EVENTS, events.WORK), self._heard, sweep_seconds=1.0
        )

    def start(self) -> None:
        """Starts to follow, from the newest event on."""
        with self._database.statements() as cursor:
            self._last = events.last_number(cursor)
        self._listener.start()

    def close(self) -> None:
        """Stops, and ends all watches."""
        self._is_closed = True
        self._listener.stop()
        with self._grown:
            self._grown.notify_all()
            for watch in [one for watches in self._watches.values() for one in watches]:
                watch.tell(None)

    @property
    def is_closed(self) -> bool:
        """Whether the process is ending."""
        return self._is_closed

    def watch(self, task_id: str) -> Watch:
        """A watch over one task; give it back with `unwatch`."""
        watch = Watch()
        with self._grown:
            self._watches.setdefault(task_id, set()).add(watch)
        return watch

    def unwatch(self, task_id: str, watch: Watch) -> None:
        """Ends a watch."""
        with self._grown:
            watches = self._watches.get(task_id, set())
            watches.discard(watch)
            if not watches:
                self._watches.pop(task_id, None)

    def follow(self, after: int, idle_seconds: float) -> Iterator[list[EventRow]]:
        """Batches of events after a number, in order; empty ones when nothing happens for a while.

        -1 means from now on. Raises ServiceError OUT_OF_RANGE if events after it are gone.
        """
        position = self._last if after < 0 else after
        if 0 <= after < self._last:
            with self._database.statements() as cursor:
                first = events.first_number(cursor)
            if after < first - 1:
                raise ServiceError.of(
                    Code.OUT_OF_RANGE,
                    "QUERY_INVALID",
                    f"Events after {after} are no longer kept; the oldest is {first}.",
                    metadata={"position": str(first)},
                )
        while not self._is_closed:
            batch = self._after(position)
            if not batch:
                with self._grown:
                    if self._last <= position:
                        self._grown.wait(idle_seconds)
                batch = self._after(position)
            if batch:
                position = batch[-1].number
            yield batch

    def _after(self, position: int) -> list[EventRow]:
        with self._grown:
            if self._last <= position:
                return []
            if self._recent and self._recent[0].number <= position + 1:
                skip = position + 1 - self._recent[0].number
                return list(islice(self._recent, skip, skip + _BATCH))
        with self._database.statements() as cursor:
            return events.read(cursor, position, _BATCH)

    def _heard(self, channels: set[str]) -> None:
        if events.WORK in channels:
            self._work_heard()
        if channels == {events.WORK}:
            return
        while not self._is_closed:
            with self._database.statements() as cursor:
                batch = events.read(cursor, self._last, _BATCH)
            with self._grown:
                for event in batch:
                    self._recent.append(event)
                    self._last = event.number
                    for watch in self._watches.get(event.task_id, ()):
                        watch.tell(event)
                if batch:
                    self._grown.notify_all()
            if len(batch) < _BATCH:
                return
