"""The dispatcher: claims ready tasks while it has room, and watches the attempts it runs."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from typing import TYPE_CHECKING

import structlog

from entrepot_core.dispatch.attempt import Attempt, Stop
from entrepot_core.dispatch.session import Session
from entrepot_core.domain.errors import ServiceError
from entrepot_core.store import events, queue, retry
from entrepot_core.store.listener import Listener
from entrepot_rpc.failpoints import failpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from entrepot_core.dispatch.attempt import AttemptTools
    from entrepot_core.store.database import Cursor, Database

__all__ = ["Dispatcher"]

log = structlog.get_logger()

_CLAIM_AT_ONCE = 10
_SWEEP_SECONDS = 1.0
_TICK_SECONDS = 0.25
_TOKEN_BYTES = 32


class Dispatcher:
    """Runs up to `slots` attempts. One thread claims, one watches, each attempt has its own."""

    def __init__(
        self,
        database: Database,
        tools: AttemptTools,
        slots: int,
        *,
        wake: Callable[[], None],
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        """`wake` tells other processes that something happened; `heard` is told of their news."""
        self._database = database
        self._tools = tools
        self._slots = slots
        self._wake = wake
        self._also_heard = heard
        self._attempts: dict[int, Attempt] = {}
        self._threads: dict[int, threading.Thread] = {}
        self._lock = threading.Lock()
        self._poked = threading.Event()
        self._stopping = threading.Event()
        self._look_for_cancels = threading.Event()
        self._listener = Listener(
            database.url, (events.WORK, events.CANCELS), self._heard, sweep_seconds=_SWEEP_SECONDS
        )
        self._session = Session(
            database, slots, given_up=self._give_up, resumed=self._forget_superseded
        )
        self._claimer = threading.Thread(target=self._claim_loop, name="claimer", daemon=True)
        self._watcher = threading.Thread(target=self._watch_loop, name="watcher", daemon=True)

    def start(self) -> None:
        """Registers, and begins to claim."""
        self._session.start()
        self._claimer.start()
        self._watcher.start()
        self._listener.start()

    def poke(self) -> None:
        """Has it look for ready tasks now."""
        self._poked.set()

    def stop(self, grace_seconds: float = 10) -> None:
        """Claims nothing more, waits for attempts, hands over those that are not done in time."""
        self._stopping.set()
        self._poked.set()
        self._claimer.join(timeout=30)
        deadline = time.monotonic() + grace_seconds
        self._join(deadline)
        for attempt in self._running():
            attempt.stop(Stop.DRAINED)
        self._join(time.monotonic() + grace_seconds)
        self._listener.stop()
        self._watcher.join(timeout=10)
        self._session.stop()
        self._wake()

    def running(self) -> int:
        """How many attempts run now."""
        with self._lock:
            return len(self._attempts)

    def _running(self) -> list[Attempt]:
        with self._lock:
            return list(self._attempts.values())

    def _join(self, deadline: float) -> None:
        while (left := deadline - time.monotonic()) > 0:
            with self._lock:
                threads = list(self._threads.values())
            if not threads:
                return
            threads[0].join(timeout=left)

    def _heard(self, channels: set[str]) -> None:
        if events.WORK in channels or not channels:
            self._also_heard()
            self._poked.set()
        if events.CANCELS in channels:
            self._look_for_cancels.set()

    def _claim_loop(self) -> None:
        while not self._stopping.is_set():
            self._poked.wait(_SWEEP_SECONDS)
            self._poked.clear()
            try:
                while not self._stopping.is_set() and self._claim():
                    pass
            except ServiceError as error:
                log.warning("dispatcher.claim_failed", error=error.message)
                self._stopping.wait(_SWEEP_SECONDS)

    def _claim(self) -> bool:
        free = min(self._slots - self.running(), _CLAIM_AT_ONCE)
        if free <= 0 or not self._session.is_registered:
            return False
        tokens = [secrets.token_urlsafe(_TOKEN_BYTES) for _ in range(free)]
        by_digest = {hashlib.sha256(token.encode()).digest(): token for token in tokens}
        dispatcher_id = self._session.dispatcher_id

        def claim(cursor: Cursor) -> list[queue.Claimed]:
            claimed = queue.claim(cursor, dispatcher_id, list(by_digest))
            if claimed:
                failpoint("claim.inserted")
            return claimed

        claimed = retry.run(self._database, claim)
        if claimed:
            failpoint("claim.committed")
            self._wake()
        for one in claimed:
            self._start(Attempt(self._tools, one, by_digest[one.token_digest]))
        return len(claimed) == free

    def _start(self, attempt: Attempt) -> None:
        number = attempt.claimed.workspace_id
        thread = threading.Thread(
            target=self._run, args=(attempt,), name=f"attempt-{number}", daemon=True
        )
        with self._lock:
            self._attempts[number] = attempt
            self._threads[number] = thread
        thread.start()

    def _run(self, attempt: Attempt) -> None:
        try:
            attempt.run()
        finally:
            with self._lock:
                self._attempts.pop(attempt.claimed.workspace_id, None)
                self._threads.pop(attempt.claimed.workspace_id, None)
            self._poked.set()
            self._wake()

    def _watch_loop(self) -> None:
        looked = 0.0
        while not (self._stopping.is_set() and not self.running()):
            self._look_for_cancels.wait(_TICK_SECONDS)
            attempts = self._running()
            try:
                for attempt in attempts:
                    if attempt.silent_seconds > self._tools.heartbeat_timeout_seconds:
                        attempt.stop(Stop.SILENT)
                if self._look_for_cancels.is_set() or time.monotonic() - looked > _SWEEP_SECONDS:
                    self._look_for_cancels.clear()
                    looked = time.monotonic()
                    self._stop_canceled(attempts)
                self._write_progress(attempts)
            except ServiceError as error:
                log.warning("dispatcher.watch_failed", error=error.message)
                self._stopping.wait(_SWEEP_SECONDS)

    def _stop_canceled(self, attempts: list[Attempt]) -> None:
        if not attempts:
            return
        by_task = {attempt.claimed.task_id: attempt for attempt in attempts}
        with self._database.transaction() as cursor:
            wanted = queue.is_cancel_requested(cursor, list(by_task))
        for task_id in wanted:
            by_task[task_id].stop(Stop.CANCELED)

    def _write_progress(self, attempts: list[Attempt]) -> None:
        due = [attempt.progress for attempt in attempts if attempt.progress.is_due()]
        if not due:
            return
        with self._database.transaction() as cursor:
            for progress in sorted(due, key=lambda one: one.task_id):
                progress.write(cursor)
        self._wake()

    def _give_up(self) -> None:
        for attempt in self._running():
            attempt.stop(Stop.SUPERSEDED)

    def _forget_superseded(self) -> None:
        with self._database.transaction() as cursor:
            owned = {
                number for number, _ in queue.owned_workspaces(cursor, self._session.dispatcher_id)
            }
        for attempt in self._running():
            if attempt.claimed.workspace_id not in owned:
                attempt.stop(Stop.SUPERSEDED)
