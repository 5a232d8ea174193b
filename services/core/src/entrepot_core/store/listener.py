"""Hearing and waking: one listening connection of a process, NOTIFY outside its transactions."""

from __future__ import annotations

import select
import socket
import threading
from typing import TYPE_CHECKING

import psycopg2
import structlog

from entrepot_core.domain.errors import DatabaseUnavailableError
from entrepot_core.store import events
from entrepot_core.store.database import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from entrepot_core.store.database import Database

__all__ = ["Listener", "Waker"]

log = structlog.get_logger()

# Between two notifications of one process: whatever happened in between is told at once. While
# pokes keep coming, the pause grows: a wake-up costs every process more than it tells it.
_PACE_SECONDS = 0.003
_LONGEST_PACE_SECONDS = 0.024


class Listener:
    """Calls `heard` with the channels that were notified, and at least every `sweep_seconds`."""

    def __init__(
        self,
        url: str,
        channels: Sequence[str],
        heard: Callable[[set[str]], None],
        *,
        sweep_seconds: float = 1.0,
    ) -> None:
        self._url = url
        self._channels = channels
        self._heard = heard
        self._sweep_seconds = sweep_seconds
        self._stopped = threading.Event()
        self._told, self._teller = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        """Starts to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stops."""
        self._stopped.set()
        self._teller.close()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        self._told.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._listen()
            except (psycopg2.Error, OSError, DatabaseUnavailableError) as error:
                log.warning("listener.interrupted", error=str(error))
                self._stopped.wait(self._sweep_seconds)

    def _listen(self) -> None:
        connection = connect(self._url, name="entrepot listener")
        try:
            with connection.cursor() as cursor:
                for channel in self._channels:
                    cursor.execute(f"LISTEN {channel}")
            # What was said before is not heard: look once.
            self._heard(set(self._channels))
            # Not select(), which refuses file descriptors from 1,024 on.
            poll = select.poll()
            poll.register(connection, select.POLLIN)
            poll.register(self._told, select.POLLIN)
            while not self._stopped.is_set():
                poll.poll(self._sweep_seconds * 1000)
                if self._stopped.is_set():
                    return
                connection.poll()
                channels = {notice.channel for notice in connection.notifies}
                connection.notifies.clear()
                self._heard(channels)
        finally:
            connection.close()


class Waker:
    """Notifies a channel soon after being poked, at most every few milliseconds."""

    def __init__(self, database: Database, channel: str = events.WORK) -> None:
        self._database = database
        self._channel = channel
        self._poked = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="waker", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def poke(self) -> None:
        """Has the others woken. Never blocks."""
        self._poked.set()

    def stop(self) -> None:
        """Stops; a poke that was not passed on is lost, which the others' sweep makes good."""
        self._stopped.set()
        self._poked.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _run(self) -> None:
        pace = _PACE_SECONDS
        while not self._stopped.is_set():
            self._poked.wait()
            self._poked.clear()
            if self._stopped.is_set():
                return
            try:
                with self._database.statements() as cursor:
                    events.notify(cursor, self._channel)
            except DatabaseUnavailableError as error:
                log.warning("waker.unreachable", error=error.message)
            self._stopped.wait(pace)
            is_busy = self._poked.is_set()
            pace = min(2 * pace, _LONGEST_PACE_SECONDS) if is_busy else _PACE_SECONDS
