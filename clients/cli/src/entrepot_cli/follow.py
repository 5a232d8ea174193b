"""Follows a task to its end: shows how far it is, lets go on Ctrl-C, cancels on a second one."""

import contextlib
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc

from entrepot.core.v1 import task_service_pb2
from entrepot_cli.outcome import Failure, Status
from entrepot_cli.progress import Show, is_over, view
from entrepot_cli.server.connection import Connection
from entrepot_cli.server.failure import failure_of
from entrepot_cli.server.name import short_name

SERVICE = task_service_pb2.DESCRIPTOR.services_by_name["TaskService"]
# How long a second Ctrl-C is waited for, and how long a server may be away.
SECOND_CHANCE_SECONDS = 3.0
AWAY_SECONDS = 60.0
PAUSE_SECONDS = 0.5
# The system may hand Ctrl-C to any thread; the main one, which answers it, is not woken by that.
GLANCE_SECONDS = 0.2

Task = task_service_pb2.Task


class TimedOut(Failure):
    """The time is up; the task goes on."""

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(
            f"Task {short_name(name)} is not over after {seconds:g} s. It goes on.",
            status=Status.TIMED_OUT,
            suggestion=f"entrepot task watch {short_name(name)}",
        )


class Detached(Failure):
    """The user has seen enough; the task goes on."""

    def __init__(self, name: str) -> None:
        super().__init__(
            "You let go; the task goes on.",
            status=Status.INTERRUPTED,
            suggestion=f"entrepot task watch {short_name(name)}",
        )


def follow(connection: Connection, task: Task, *, seconds: float = 0, is_quiet: bool) -> Task:
    """Return the task once it is over; until then show what it does.

    Raises:
        TimedOut: `seconds` went by, if they are not zero.
        Detached: the user pressed Ctrl-C.
    """
    with view(is_quiet=is_quiet) as show:
        follower = Follower(connection, task, show, seconds)
        with follower.listening():
            return follower.run()


def cancel(connection: Connection, name: str) -> Task:
    """Ask a task to stop."""
    request = task_service_pb2.CancelTaskRequest(name=name, state=Task.STATE_CANCELED)
    task: Task = connection.call(SERVICE, "CancelTask", request).task
    return task


class _Pressed:
    """Ctrl-C, among what the server says."""


class Follower:
    """One task, what the server says about it, and the keys that the user presses meanwhile."""

    def __init__(self, connection: Connection, task: Task, show: Show, seconds: float) -> None:
        self._connection = connection
        self._task = task
        self._show = show
        self._seconds = seconds
        self._end = time.monotonic() + seconds if seconds else None
        self._sequence = 0
        self._presses = 0
        self._let_go_at: float | None = None
        self._away_since: float | None = None
        # Responses, errors and key presses in the order they come; a signal may put at any time.
        self._feed: queue.SimpleQueue[Any] = queue.SimpleQueue()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take Ctrl-C as something that is said, not as an end wherever the program is."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, lambda *_: self._feed.put(_Pressed()))
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def run(self) -> Task:
        """Follow until the task is over."""
        self._show(self._task)
        while not is_over(self._task):
            stream = self._open()
            try:
                self._listen()
            finally:
                stream.cancel()
        return self._task

    def _open(self) -> Any:  # noqa: ANN401, gRPC's own call object
        request = task_service_pb2.WatchTaskRequest(
            name=self._task.name, after_sequence=self._sequence
        )
        left = None if self._end is None else max(0.001, self._end - time.monotonic())
        stream = self._connection.stream(SERVICE, "WatchTask", request, left)
        threading.Thread(target=self._pump, args=(stream,), daemon=True).start()
        return stream

    def _pump(self, stream: Any) -> None:  # noqa: ANN401, as above
        try:
            for response in stream:
                self._feed.put(response)
            self._feed.put(None)
        except grpc.RpcError as error:
            self._feed.put(error)

    def _listen(self) -> None:
        """Take what comes until the task is over or the stream has ended."""
        while not is_over(self._task):
            if self._let_go_at is not None and time.monotonic() >= self._let_go_at:
                raise Detached(self._task.name)
            try:
                said = self._feed.get(timeout=GLANCE_SECONDS)
            except queue.Empty:
                continue
            if said is None:
                # A server that ends streams is going away; it is asked again, not at once.
                time.sleep(PAUSE_SECONDS)
                return
            if isinstance(said, _Pressed):
                self._take_press()
            elif isinstance(said, grpc.RpcError):
                self._take_error(said)
                return
            else:
                self._away_since = None
                self._task, self._sequence = said.task, said.sequence
                self._show(self._task)

    def _take_press(self) -> None:
        self._presses += 1
        if self._presses == 1:
            come_back = Detached(self._task.name).suggestion
            # A line of its own, which no terminal breaks, to be copied.
            print(f"\nThe task goes on; come back with:\n  {come_back}", file=sys.stderr)
            print("Ctrl-C once more asks it to stop.", file=sys.stderr, flush=True)
            self._let_go_at = time.monotonic() + SECOND_CHANCE_SECONDS
        elif self._let_go_at is not None:
            self._let_go_at = self._end = None
            cancel(self._connection, self._task.name)
        else:
            raise Detached(self._task.name)

    def _take_error(self, error: grpc.RpcError) -> None:
        if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
            if self._end is not None:
                raise TimedOut(self._task.name, self._seconds)
            # Of a time that ended to matter when the task was asked to stop.
            return
        self._away_since = self._away_since or time.monotonic()
        is_away = error.code() == grpc.StatusCode.UNAVAILABLE
        if not is_away or time.monotonic() - self._away_since > AWAY_SECONDS:
            raise failure_of(error, self._connection.settings)
        time.sleep(PAUSE_SECONDS)
