"""Follows a task to its end: shows how far it is, lets go on Ctrl-C, cancels on a second one."""

import sys
import time
from typing import Any

import grpc

from entrepot.core.v1 import task_service_pb2
from entrepot_cli.outcome import Failure, Status
from entrepot_cli.progress import is_over, view
from entrepot_cli.server.connection import Connection
from entrepot_cli.server.failure import failure_of
from entrepot_cli.server.name import short_name

SERVICE = task_service_pb2.DESCRIPTOR.services_by_name["TaskService"]
# How long a second Ctrl-C is waited for, and how long a server may be away.
SECOND_CHANCE_SECONDS = 3.0
AWAY_SECONDS = 60.0
PAUSE_SECONDS = 0.5

_Task = task_service_pb2.Task


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


def follow(
    connection: Connection, task: task_service_pb2.Task, *, seconds: float = 0, is_quiet: bool
) -> task_service_pb2.Task:
    """Return the task once it is over; until then show what it does.

    Raises:
        TimedOut: `seconds` went by, if they are not zero.
        Detached: the user pressed Ctrl-C.
    """
    end = time.monotonic() + seconds if seconds else None
    try:
        return _watch(connection, task, end, seconds, is_quiet=is_quiet)
    except KeyboardInterrupt:
        detached = Detached(task.name)
        print(f"\nThe task goes on; come back with: {detached.suggestion}", file=sys.stderr)
        print("Ctrl-C once more asks it to stop.", file=sys.stderr)
    try:
        time.sleep(SECOND_CHANCE_SECONDS)
    except KeyboardInterrupt:
        cancel(connection, task.name)
        return _watch(connection, task, None, 0, is_quiet=is_quiet)
    raise detached


def cancel(connection: Connection, name: str) -> task_service_pb2.Task:
    """Ask a task to stop."""
    request = task_service_pb2.CancelTaskRequest(name=name, state=_Task.STATE_CANCELED)
    task: task_service_pb2.Task = connection.call(SERVICE, "CancelTask", request).task
    return task


def _watch(
    connection: Connection,
    task: task_service_pb2.Task,
    end: float | None,
    seconds: float,
    *,
    is_quiet: bool,
) -> task_service_pb2.Task:
    sequence = 0
    away_since: float | None = None
    with view(is_quiet=is_quiet) as show:
        while True:
            show(task)
            if is_over(task):
                return task
            stream = _open(connection, task.name, sequence, end)
            try:
                for response in stream:
                    away_since = None
                    task, sequence = response.task, response.sequence
                    show(task)
                    if is_over(task):
                        return task
            except grpc.RpcError as error:
                if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED and end is not None:
                    raise TimedOut(task.name, seconds) from None
                away_since = away_since or time.monotonic()
                is_away = error.code() == grpc.StatusCode.UNAVAILABLE
                if not is_away or time.monotonic() - away_since > AWAY_SECONDS:
                    raise failure_of(error, connection.settings) from None
                time.sleep(PAUSE_SECONDS)
            finally:
                stream.cancel()


def _open(connection: Connection, name: str, sequence: int, end: float | None) -> Any:  # noqa: ANN401
    request = task_service_pb2.WatchTaskRequest(name=name, after_sequence=sequence)
    left = None if end is None else max(0.001, end - time.monotonic())
    return connection.stream(SERVICE, "WatchTask", request, left)
