"""The two streams of TaskService: the events of all tasks, and one task to its end."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from entrepot.core.v1 import task_service_pb2
from entrepot_core.api.blocking import blockers
from entrepot_core.api.event_streams import EventStream
from entrepot_core.api.task_message import event_message, task_message
from entrepot_core.store import events, tasks

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from entrepot_core.api.event_log import EventLog
    from entrepot_core.store.database import Database
    from entrepot_core.store.events import EventRow

__all__ = ["AllEvents", "OneTask", "TaskReader"]

_READ_AT_ONCE = 8


class AllEvents(EventStream):
    """The events of all tasks after a number; -1: from now on."""

    def __init__(
        self, context: grpc.ServicerContext, send: Callable[[Any], None], log: EventLog, after: int
    ) -> None:
        super().__init__(context, send)
        self._log = log
        self._position = log.last if after < 0 else after
        self._is_first = True

    def advance(self) -> bool:
        """Sends the next batch; before the first an empty one, which says that we listen."""
        if self._is_first:
            self._is_first = False
            self.rest()
            return True
        batch = self._log.after(self._position)
        if batch:
            self.send(_batch_message(tuple(batch)))
            self._position = batch[-1].number
        return self._position < self._log.last

    def rest(self) -> None:
        """Sends an empty batch."""
        self.send(task_service_pb2.WatchEventsResponse(last_sequence=self._log.last))


class OneTask(EventStream):
    """One task: as it is now, then after each of its events, to its end."""

    def __init__(
        self,
        context: grpc.ServicerContext,
        send: Callable[[Any], None],
        reader: TaskReader,
        task_id: str,
        after: int,
    ) -> None:
        super().__init__(context, send)
        self.task_id = task_id
        self._reader = reader
        self._after = after
        self._sent = -1

    def advance(self) -> bool | None:
        """Sends the task if there is news."""
        # What is read after the number was heard has all that the number stands for.
        heard = self.heard
        if self._sent < 0:
            heard = max(heard, self._reader.last_event(self.task_id))
        task = self._reader.read(self.task_id, heard)
        if heard > max(self._sent, self._after) or (self._sent < 0 and not self._after):
            self.send(task_service_pb2.WatchTaskResponse(task=task, sequence=heard))
        self._sent = max(self._sent, heard)
        return None if task.HasField("end_time") else False


class TaskReader:
    """Reads tasks for streams: once after each event, however many watch the same task."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Bounds what streams take of the database, and has the second reader wait for the first.
        self._locks = [threading.Lock() for _ in range(_READ_AT_ONCE)]
        self._latest: list[tuple[str, int, task_service_pb2.Task] | None] = [None] * _READ_AT_ONCE

    def last_event(self, task_id: str) -> int:
        """The number of the task's newest event; zero if it has none."""
        with self._database.statements() as cursor:
            return events.last_number_of_task(cursor, task_id)

    def read(self, task_id: str, number: int) -> task_service_pb2.Task:
        """The task as it was when this event had a number, or later; ResourceNotFoundError."""
        place = hash(task_id) % _READ_AT_ONCE
        with self._locks[place]:
            latest = self._latest[place]
            if latest and number and latest[0] == task_id and latest[1] >= number:
                return latest[2]
            with self._database.statements() as cursor:
                row = tasks.get(cursor, task_id)
                task = task_message(row, blockers(cursor, row))
            self._latest[place] = (task_id, number, task)
            return task


@lru_cache(maxsize=4)
def _batch_message(batch: tuple[EventRow, ...]) -> task_service_pb2.WatchEventsResponse:
    # Most streams are equally far.
    return task_service_pb2.WatchEventsResponse(
        events=map(event_message, batch), last_sequence=batch[-1].number
    )
