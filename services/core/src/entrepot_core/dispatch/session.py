"""A dispatcher's own registration: a row, a lock that lasts as long as the session, and a beat."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import TYPE_CHECKING

import structlog

from entrepot_core.domain.errors import DatabaseUnavailableError
from entrepot_core.store import dispatchers
from entrepot_core.store.database import PROCESS
from entrepot_core.store.session import HeldSession

if TYPE_CHECKING:
    from collections.abc import Callable

    from entrepot_core.store.database import Cursor, Database

__all__ = ["BEAT_SECONDS", "HUNG_SECONDS", "Session"]

log = structlog.get_logger()

BEAT_SECONDS = 2.0
HUNG_SECONDS = 15 * BEAT_SECONDS
_RESTARTED_SECONDS = 3 * BEAT_SECONDS
_RECONNECT_SECONDS = 0.5
_LOOK_SECONDS = 0.25


class Session:
    """Keeps a dispatcher registered. When the connection breaks, streams go on: they did not."""

    def __init__(
        self,
        database: Database,
        slots: int,
        *,
        given_up: Callable[[], None],
        resumed: Callable[[], None],
    ) -> None:
        """`given_up`: others took the work over. `resumed`: some of it may be gone."""
        self._database = database
        self._slots = slots
        self._given_up = given_up
        self._resumed = resumed
        self._held: HeldSession | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="session", daemon=True)
        self.dispatcher_id = 0

    @property
    def is_registered(self) -> bool:
        """Whether the session is up, so that claims may be made."""
        return self._held is not None

    def start(self) -> None:
        """Registers, and keeps it so."""
        self._register()
        self._thread.start()

    def stop(self) -> None:
        """Forgets the registration."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        try:
            with self._database.transaction() as cursor:
                dispatchers.unregister(cursor, self.dispatcher_id)
        except DatabaseUnavailableError as error:
            log.warning("dispatcher.not_unregistered", error=error.message)
        if self._held is not None:
            self._held.close()
            self._held = None

    def _register(self) -> None:
        held = HeldSession(self._database.url, "entrepot dispatcher")
        name = f"{socket.gethostname()}:{os.getpid()}"
        self.dispatcher_id = held.run(
            lambda cursor: dispatchers.register(cursor, name, self._slots, PROCESS)
        )
        self._held = held
        log.info("dispatcher.registered", dispatcher=self.dispatcher_id)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._rest()
                self._beat()
            except DatabaseUnavailableError as error:
                log.warning("dispatcher.session_lost", error=error.message)
                self._drop()
                self._reconnect()

    def _rest(self) -> None:
        """Returns when a beat is due, or the session has ended: then each moment counts."""
        due = time.monotonic() + BEAT_SECONDS
        while not self._stopped.is_set() and time.monotonic() < due:
            if self._held is None or self._held.has_ended(_LOOK_SECONDS):
                return

    def _beat(self) -> None:
        held = self._held
        if held is None:
            return
        if held.run(lambda cursor: dispatchers.beat(cursor, self.dispatcher_id)):
            held.run(self._end_hung)
            return
        log.warning("dispatcher.given_up", dispatcher=self.dispatcher_id)
        self._drop()
        self._given_up()
        self._register()

    def _end_hung(self, cursor: Cursor) -> None:
        # Whoever is to sweep may itself have stopped, and would keep that role to itself.
        for other in dispatchers.hung(cursor, HUNG_SECONDS, _RESTARTED_SECONDS):
            if dispatchers.end_sessions(cursor, other):
                log.warning("dispatcher.hung", dispatcher=other)

    def _reconnect(self) -> None:
        pause = 0.0
        while not self._stopped.wait(pause):
            pause = _RECONNECT_SECONDS
            try:
                held = HeldSession(self._database.url, "entrepot dispatcher")
                if held.run(lambda cursor: dispatchers.resume(cursor, self.dispatcher_id)):
                    self._held = held
                    log.info("dispatcher.resumed", dispatcher=self.dispatcher_id)
                    self._resumed()
                else:
                    held.close()
                    self._given_up()
                    self._register()
            except DatabaseUnavailableError:
                # Also if it broke again before all was looked through: the lock has to be free.
                self._drop()
                continue
            return

    def _drop(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.close()
