"""The step of the one sweeper: makes good what lost wake-ups, dead processes and crashes left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from entrepot_core.dispatch.observer import UNOBSERVED
from entrepot_core.dispatch.session import BEAT_SECONDS, HUNG_SECONDS
from entrepot_core.dispatch.settling import canceled_error, encode_error
from entrepot_core.domain.errors import AttemptSupersededError, PluginUnknownError
from entrepot_core.domain.task import AGEING_SECONDS, Loss, LossCause, State
from entrepot_core.store import dispatchers, plugins, queue, retry, sweep
from entrepot_rpc.failpoints import failpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from entrepot_core.dispatch.observer import AttemptObserver
    from entrepot_core.store.database import Cursor, Database

__all__ = ["Sweeper"]

log = structlog.get_logger()

# A session that ends is noticed at once by its owner, who then needs a moment for another.
_SESSION_GONE_SECONDS = 0.4
_RESTARTED_SECONDS = 3 * BEAT_SECONDS
_EVERY_SECONDS = 1.0
_LOOK_SECONDS = 0.2


class Sweeper:
    """What must happen even if nobody says so."""

    def __init__(
        self,
        database: Database,
        wake: Callable[[], None],
        janitors: Sequence[Callable[[Cursor], int]] = (),
        *,
        ageing_seconds: float = AGEING_SECONDS,
        observer: AttemptObserver = UNOBSERVED,
    ) -> None:
        """`janitors` delete a batch each of what gone workspaces left; they return how much.

        After `ageing_seconds` a task that is ready competes one class higher.
        """
        self._database = database
        self._wake = wake
        self._janitors = janitors
        self._ageing_seconds = ageing_seconds
        self._observer = observer
        self._due: dict[str, float] = {}
        # Since when which dispatchers have been without a session.
        self._gone: dict[int, float] = {}

    def step(self) -> float:
        """Does what is due; returns how long until the next look."""
        woken = self._take_over(self._dead())
        if self._is_time("rest", _EVERY_SECONDS):
            woken += self._sweep()
        if woken:
            self._wake()
        return _LOOK_SECONDS

    def _sweep(self) -> int:
        with self._database.transaction() as cursor:
            left = dispatchers.hung(cursor, HUNG_SECONDS, _RESTARTED_SECONDS)
            left += sweep.ownerless_dispatchers(cursor)
        woken = self._grant_stuck() + self._take_over(left)
        with self._database.transaction() as cursor:
            woken += sweep.unpark(cursor)
        if self._is_time("crashed", 2):
            woken += self._repeat_crashed()
        if self._is_time("removed", 2):
            woken += self._fail_tasks_of_removed_plugins()
        if self._is_time("age", min(10.0, self._ageing_seconds / 10)):
            with self._database.transaction() as cursor:
                woken += sweep.age(cursor, self._ageing_seconds)
        if self._is_time("janitors", 2):
            for janitor in self._janitors:
                retry.run(self._database, janitor)
        return woken

    def _is_time(self, what: str, seconds: float) -> bool:
        now = time.monotonic()
        if now < self._due.get(what, 0):
            return False
        self._due[what] = now + seconds
        return True

    def _grant_stuck(self) -> int:
        with self._database.transaction() as cursor:
            stuck = sweep.stuck_resources(cursor)
        granted = 0
        for resource_id in stuck:
            with self._database.transaction() as cursor:
                granted += sweep.grant_stuck(cursor, resource_id)
        if granted:
            log.error("sweep.was_stuck", resources=stuck, granted=granted)
        return granted

    def _dead(self) -> list[int]:
        with self._database.transaction() as cursor:
            unheld = dispatchers.unheld(cursor, _RESTARTED_SECONDS)
        now = time.monotonic()
        self._gone = {one: self._gone.get(one, now) for one in unheld}
        return [one for one, since in self._gone.items() if now - since >= _SESSION_GONE_SECONDS]

    def _take_over(self, dead: list[int]) -> int:
        taken = 0
        for dispatcher_id in dead:
            with self._database.transaction() as cursor:
                # It may be in the middle of a commit, and would hold it open.
                dispatchers.end_sessions(cursor, dispatcher_id)
                workspaces = queue.owned_workspaces(cursor, dispatcher_id)
            for workspace_id, task_id in workspaces:
                taken += self._lose(
                    task_id,
                    Loss(
                        "The dispatcher that ran the attempt died.",
                        is_counted=True,
                        delay_seconds=0,
                        cause=LossCause.DISPATCHER_DIED,
                    ),
                    workspace_id,
                )
            with self._database.transaction() as cursor:
                dispatchers.evict(cursor, dispatcher_id)
            log.warning("sweep.took_over", dispatcher=dispatcher_id, attempts=len(workspaces))
        return taken

    def _repeat_crashed(self) -> int:
        with self._database.transaction() as cursor:
            crashed = sweep.running_without_workspace(cursor)
        return sum(
            self._lose(
                task_id,
                Loss("The database crashed.", is_counted=False, cause=LossCause.DATABASE),
                None,
            )
            for task_id in crashed
        )

    def _lose(self, task_id: str, loss: Loss, workspace_id: int | None) -> int:
        def write(cursor: Cursor) -> None:
            queue.lose(
                cursor,
                task_id,
                loss,
                encode_error,
                canceled=canceled_error(),
                workspace_id=workspace_id,
            )
            failpoint("take_over.deleted")

        try:
            retry.run(self._database, write)
        except AttemptSupersededError:
            return 0
        self._observer.lost(loss.cause)
        return 1

    def _fail_tasks_of_removed_plugins(self) -> int:
        with self._database.transaction() as cursor:
            waiting = plugins.waiting_tasks_of_removed(cursor)
        for task_id, plugin in waiting:
            error = PluginUnknownError(
                f"The plugin {plugin} was removed while the task waited.",
                metadata={"plugin": plugin},
            )
            with self._database.transaction() as cursor:
                queue.end_unowned(cursor, task_id, State.FAILED, encode_error(error))
        return len(waiting)
