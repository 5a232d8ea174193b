"""The dispatcher: claims ready tasks while it has room, and watches the attempts it runs."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import structlog

from entrepot_core.dispatch import batch
from entrepot_core.dispatch.attempt import Attempt, Stop
from entrepot_core.dispatch.batch import may_share
from entrepot_core.dispatch.claim import Claim, Following
from entrepot_core.dispatch.session import Session
from entrepot_core.dispatch.strays import Strays
from entrepot_core.domain.errors import ServiceError
from entrepot_core.store import events, queue, retry
from entrepot_core.store.listener import Listener
from entrepot_rpc.failpoints import failpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from entrepot_core.dispatch.attempt import AttemptTools
    from entrepot_core.store.database import Database

__all__ = ["Dispatcher"]

log = structlog.get_logger()

_CLAIM_AT_ONCE = batch.MOST
_SWEEP_SECONDS = 1.0
_TICK_SECONDS = 0.25
# A batch is over by then, unless something holds it up.
_BATCH_SECONDS = 0.05
# A claim that was committed is run within moments, or never.
_STRAYS_SECONDS = 2.0


class Dispatcher:
    """Runs up to `slots` attempts. One thread claims, one watches, each attempt has its own."""

    def __init__(
        self,
        database: Database,
        tools: AttemptTools,
        slots: int,
        *,
        wake: Callable[[], None],
        noted: Callable[[], None],
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        """`wake` tells other dispatchers of work, `noted` the numberer of events.

        `heard` is told of the others' news.
        """
        self._database = database
        self._tools = tools
        self._slots = slots
        self._wake = wake
        self._noted = noted
        self._also_heard = heard
        self._attempts: dict[int, Attempt] = {}
        self._threads: set[threading.Thread] = set()
        self._reserved = 0
        self._lock = threading.Lock()
        # Threads whose attempt is likely to claim what is next within moments.
        self._followed = 0
        self._unfollowed = threading.Event()
        self._unfollowed.set()
        self._poked = threading.Event()
        self._stopping = threading.Event()
        self._look_for_cancels = threading.Event()
        self._listener = Listener(
            database.url,
            (events.WORK, events.INBOX, events.CANCELS),
            self._heard,
            sweep_seconds=_SWEEP_SECONDS,
        )
        self._session = Session(
            database, slots, given_up=self._give_up, resumed=self._forget_superseded
        )
        self._strays = Strays(database)
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
        log.info("dispatcher.draining", attempts=self.running())
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
                threads = list(self._threads)
            if not threads:
                return
            threads[0].join(timeout=left)

    def _heard(self, channels: set[str]) -> None:
        if channels != {events.CANCELS}:
            self._also_heard()
        if events.WORK in channels or not channels:
            self._poked.set()
        if events.CANCELS in channels:
            self._look_for_cancels.set()

    def _claim_loop(self) -> None:
        while not self._stopping.is_set():
            self._poked.wait(_SWEEP_SECONDS)
            # What is under way claims as it ends, in a moment, and then more at once.
            self._unfollowed.wait(_BATCH_SECONDS)
            self._poked.clear()
            try:
                while not self._stopping.is_set() and self._claim():
                    pass
            except ServiceError as error:
                log.warning("dispatcher.claim_failed", error=error.message)
                self._stopping.wait(_SWEEP_SECONDS)

    def _claim(self) -> bool:
        free = self._reserve(_CLAIM_AT_ONCE)
        if not free:
            return False
        claim = Claim(self._session.dispatcher_id, free)
        try:
            retry.run(self._database, claim)
        finally:
            # Also if the answer to the COMMIT was lost: an attempt that was not made after all
            # finds that it is superseded.
            for group in self._groups(self._attempts_of(claim, free)):
                self._start(group)
        return claim.is_full

    def _reserve(self, most: int) -> int:
        """Keeps at most so many slots free for whoever is about to claim; returns how many."""
        with self._lock:
            if self._stopping.is_set() or not self._session.is_registered:
                return 0
            free = self._slots - len(self._attempts) - self._reserved
            reserved = max(0, min(free, most))
            self._reserved += reserved
            return reserved

    def _attempts_of(self, claim: Claim, reserved: int) -> list[Attempt]:
        """The attempts that were claimed, in the slots that were reserved for them."""
        if claim.claimed:
            failpoint("claim.committed")
            self._noted()
        if claim.claimed and claim.is_full:
            # There may be more than there is room for here.
            self._wake()
        attempts = [
            Attempt(self._tools, claimed, claim.token_of(claimed), Following(self._next))
            for claimed in claim.claimed
        ]
        with self._lock:
            self._attempts.update((one.claimed.workspace_id, one) for one in attempts)
            self._reserved -= reserved
        return attempts

    def _groups(self, attempts: list[Attempt]) -> list[list[Attempt]]:
        """What runs in a thread each: first what may be done together, if there is any."""
        shared = [one for one in attempts if may_share(self._tools, one.claimed)]
        return ([shared] if shared else []) + [[one] for one in attempts if one not in shared]

    def _next(self, freed: int = 1) -> Claim | None:
        """What claims for the slots of attempts that end, and for more if there are any."""
        if self._stopping.is_set() or not self._session.is_registered:
            return None
        more = self._reserve(batch.MOST - freed)
        return Claim(self._session.dispatcher_id, freed + more, waits=False)

    def _start(self, group: list[Attempt]) -> None:
        thread = threading.Thread(
            target=self._run,
            args=(group,),
            name=f"attempt-{group[0].claimed.workspace_id}",
            daemon=True,
        )
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def _run(self, first: list[Attempt]) -> None:
        group = first
        is_followed = False
        try:
            while group:
                if is_followed != may_share(self._tools, group[0].claimed):
                    is_followed = not is_followed
                    self._follow(1 if is_followed else -1)
                group = self._run_one(group[0]) if len(group) == 1 else self._run_together(group)
        finally:
            if is_followed:
                self._follow(-1)
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _follow(self, more: int) -> None:
        with self._lock:
            self._followed += more
            if self._followed:
                self._unfollowed.clear()
            else:
                self._unfollowed.set()

    def _run_one(self, attempt: Attempt) -> list[Attempt]:
        """Runs an attempt; returns what was claimed as it ended and goes on in this thread."""
        try:
            attempt.run()
        finally:
            successors = self._ended([attempt], attempt.follow)
        return successors

    def _run_together(self, group: list[Attempt]) -> list[Attempt]:
        """The same of several, of which each that is left then runs by itself."""
        follow = Following(lambda: self._next(len(group)))
        left = group
        try:
            left = batch.Batch(self._tools, group, follow).run()
        finally:
            successors = self._ended([one for one in group if one not in left], follow, len(group))
        for attempt in left:
            self._start([attempt])
        return successors

    def _ended(self, attempts: list[Attempt], follow: Following, freed: int = 1) -> list[Attempt]:
        """Takes note of the end of attempts; returns what goes on in this thread."""
        with self._lock:
            for attempt in attempts:
                self._attempts.pop(attempt.claimed.workspace_id, None)
        self._noted()
        claim = follow.claim
        groups = []
        if claim is not None:
            groups = self._groups(self._attempts_of(claim, claim.most - freed))
        if claim is None or claim.is_full:
            self._poked.set()
        if self._stopping.is_set():
            self._wake()
        for group in groups[1:]:
            self._start(group)
        return groups[0] if groups else []

    def _watch_loop(self) -> None:
        looked = 0.0
        sought = time.monotonic()
        while not (self._stopping.is_set() and not self.running()):
            self._look_for_cancels.wait(_TICK_SECONDS)
            attempts = self._running()
            try:
                for attempt in attempts:
                    if attempt.silent_seconds > self._tools.heartbeat_timeout_seconds:
                        attempt.stop(Stop.SILENT)
                    if attempt.is_overdue:
                        self._cut(attempt)
                if self._look_for_cancels.is_set() or time.monotonic() - looked > _SWEEP_SECONDS:
                    self._look_for_cancels.clear()
                    looked = time.monotonic()
                    self._stop_canceled(attempts)
                self._write_progress(attempts)
                if time.monotonic() - sought > _STRAYS_SECONDS:
                    sought = time.monotonic()
                    self._give_up_strays()
            except ServiceError as error:
                log.warning("dispatcher.watch_failed", error=error.message)
                self._stopping.wait(_SWEEP_SECONDS)

    def _cut(self, attempt: Attempt) -> None:
        """Goes on without an attempt that does not stop: its slot is free, its task is over."""
        with self._lock:
            if self._attempts.pop(attempt.claimed.workspace_id, None) is None:
                return

        def cut() -> None:
            attempt.cut()
            self._noted()
            self._wake()
            self._poked.set()

        # What keeps the attempt may keep this, too.
        threading.Thread(target=cut, name="cut", daemon=True).start()

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
        with ExitStack() as turns:
            # Not those whose attempt writes, which has the last word and needs nobody's help.
            ours = [one for one in due if turns.enter_context(one.turn(waits=False))]
            with self._database.transaction() as cursor:
                for progress in sorted(ours, key=lambda one: one.task_id):
                    progress.write(cursor, waits=False)
        self._noted()

    def _give_up_strays(self) -> None:
        if not self._session.is_registered:
            return

        def running() -> set[int]:
            with self._lock:
                return set(self._attempts)

        if self._strays.give_up(self._session.dispatcher_id, running):
            self._wake()

    def _give_up(self) -> None:
        for attempt in self._running():
            attempt.stop(Stop.SUPERSEDED)

    def _forget_superseded(self) -> None:
        # Before the look: what is claimed meanwhile is ours, though the look may not see it.
        attempts = self._running()
        with self._database.transaction() as cursor:
            owned = {
                number for number, _ in queue.owned_workspaces(cursor, self._session.dispatcher_id)
            }
        for attempt in attempts:
            if attempt.claimed.workspace_id not in owned:
                attempt.stop(Stop.SUPERSEDED)
