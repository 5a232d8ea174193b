"""The events of all tasks, in memory: read once per process, however many watch."""

from __future__ import annotations

import threading
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

import structlog

from entrepot_core.api.event_streams import EventStreams
from entrepot_core.domain.errors import EventOutOfRangeError
from entrepot_core.domain.task import State
from entrepot_core.store import events
from entrepot_core.store.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Callable

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
        self._reading = threading.Lock()
        self.streams = EventStreams()
        self._watches: dict[str, set[Watch]] = {}
        self._is_closed = False
        self._listener = Listener(
            database.url,
            (events.EVENTS, events.INBOX, events.WORK),
            self._heard,
            sweep_seconds=1.0,
        )

    def start(self) -> None:
        """Starts to follow, from the newest event on."""
        with self._database.statements() as cursor:
            self._last = events.last_number(cursor)
        self.streams.start()
        self._listener.start()

    def close(self) -> None:
        """Stops, and ends all watches."""
        self._is_closed = True
        self._listener.stop()
        self.streams.close()
        with self._reading:
            for watch in [one for watches in self._watches.values() for one in watches]:
                watch.tell(None)

    @property
    def is_closed(self) -> bool:
        """Whether the process is ending."""
        return self._is_closed

    def watch(self, task_id: str) -> Watch:
        """A watch over one task; give it back with `unwatch`."""
        watch = Watch()
        with self._reading:
            self._watches.setdefault(task_id, set()).add(watch)
        return watch

    def unwatch(self, task_id: str, watch: Watch) -> None:
        """Ends a watch."""
        with self._reading:
            watches = self._watches.get(task_id, set())
            watches.discard(watch)
            if not watches:
                self._watches.pop(task_id, None)

    @property
    def last(self) -> int:
        """Number of the newest event that this process has read."""
        return self._last

    def check(self, after: int) -> None:
        """Raises EventOutOfRangeError if the log cannot go on after a number."""
        last = self._last
        if after == last:
            return
        with self._database.statements() as cursor:
            first = events.first_number(cursor)
            if after > last:
                # Another process may have shown it before this one has read it.
                last = events.last_number(cursor)
        if not first - 1 <= after <= last:
            raise EventOutOfRangeError.after(after, first, last)

    def after(self, position: int) -> list[EventRow]:
        """The next events after a number; none if there are none yet.

        Raises EventOutOfRangeError if they are not kept any more.
        """
        with self._reading:
            if self._last == position:
                return []
            if self._recent and self._recent[0].number <= position + 1 <= self._last:
                skip = position + 1 - self._recent[0].number
                return list(islice(self._recent, skip, skip + _BATCH))
        if position > self._last:
            self.check(position)
            return []
        with self._database.statements() as cursor:
            batch = events.read(cursor, position, _BATCH)
        if batch and batch[0].number != position + 1:
            raise EventOutOfRangeError.after(position, batch[0].number, self._last)
        return batch

    def _heard(self, channels: set[str]) -> None:
        if channels & {events.INBOX, events.WORK}:
            self._work_heard()
        if channels and events.EVENTS not in channels:
            return
        batch: list[EventRow] = []
        while not self._is_closed:
            with self._database.statements() as cursor:
                batch = events.read(cursor, self._last, _BATCH)
            with self._reading:
                for event in batch:
                    self._recent.append(event)
                    self._last = event.number
                    for watch in self._watches.get(event.task_id, ()):
                        watch.tell(event)
            if batch:
                self.streams.tell(batch)
            if len(batch) < _BATCH:
                break
        if not batch and len(channels) > 1:
            self._look_back()

    def _look_back(self) -> None:
        # After a failover to a standby that lagged, or a restore, the log may be shorter.
        with self._database.statements() as cursor:
            last = events.last_number(cursor)
        if last < self._last:
            log.warning("events.went_back", from_number=self._last, to_number=last)
            with self._reading:
                self._recent.clear()
                self._last = last
            self.streams.tell([])
