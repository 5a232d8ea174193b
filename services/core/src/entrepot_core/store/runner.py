"""Work that one process at a time does: whoever holds an advisory lock while its session lasts."""

from __future__ import annotations

import enum
import threading
import time
from typing import TYPE_CHECKING

import psycopg2
import structlog

from entrepot_core.domain.errors import ServiceError
from entrepot_core.store.database import connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from entrepot_core.store.database import Cursor

__all__ = ["Role", "SingleRunner"]

log = structlog.get_logger()


class Role(enum.IntEnum):
    """The second half of the lock (0, n); 0 is migrations, 1 is claims."""

    NUMBERER = 2
    SWEEPER = 3
    PLUGIN_POLLER = 4
    HOUSEKEEPER = 5


# The longest that whoever has a role says nothing; the server ends a session that says less.
_BEAT_SECONDS = 3.0
SILENT_SECONDS = 15.0


class SingleRunner:
    """Calls `step` over and over in the one process that has the role; the others stand by."""

    def __init__(
        self,
        url: str,
        role: Role,
        step: Callable[[], float],
        *,
        stand_by_seconds: float = 0.5,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        """`step` does what is to do and returns how many seconds later it wants to be called.

        The role passes to another process when a step takes longer than `silent_seconds`, since
        the one that has it may be stopped, or cut off where nobody notices.
        """
        self._url = url
        self._role = role
        self._step = step
        self._stand_by_seconds = stand_by_seconds
        self._silent_seconds = silent_seconds
        self.is_leading = False
        """Whether this process has the role."""
        self._poked = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=role.name.lower(), daemon=True)

    def start(self) -> None:
        """Starts to stand by."""
        self._thread.start()

    def poke(self) -> None:
        """Has the next step done now."""
        self._poked.set()

    def stop(self) -> None:
        """Gives up the role and waits until the step under way is over."""
        self._stopped.set()
        self._poked.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._hold()
            except (psycopg2.Error, ServiceError) as error:
                log.warning("runner.interrupted", role=self._role.name, error=str(error))
            self._stopped.wait(self._stand_by_seconds)

    def _hold(self) -> None:
        connection = connect(self._url, name=f"entrepot {self._role.name.lower()}")
        try:
            with connection.cursor() as cursor:
                silent = round(1000 * self._silent_seconds)
                cursor.execute(
                    "SELECT set_config('idle_session_timeout', %s, false)", (str(silent),)
                )
                while not self._stopped.is_set():
                    cursor.execute("SELECT pg_try_advisory_lock(0, %s)", (self._role.value,))
                    if (cursor.fetchone() or (False,))[0]:
                        break
                    # Pokes are for who has the role.
                    self._stopped.wait(self._stand_by_seconds)
                self.is_leading = True
                while not self._stopped.is_set():
                    # The session is the role: who lost it must not go on.
                    cursor.execute("SELECT")
                    seconds = self._step()
                    if not self._stopped.is_set():
                        self._wait(cursor, seconds)
        finally:
            self.is_leading = False
            connection.close()

    def _wait(self, cursor: Cursor, seconds: float) -> None:
        due = time.monotonic() + seconds
        while (left := due - time.monotonic()) > 0:
            if self._poked.wait(min(left, _BEAT_SECONDS)):
                break
            cursor.execute("SELECT")
        self._poked.clear()
