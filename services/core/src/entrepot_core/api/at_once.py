"""Small changes that nothing is in the way of: made in the transaction that makes their task."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog

from entrepot_core.domain.task import State
from entrepot_core.plugins import differences, shortened
from entrepot_core.store import api_tokens, at_once, commit, small_change
from entrepot_rpc import tracing
from entrepot_rpc.failpoints import failpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from entrepot_core.plugins.parameters import Parameters
    from entrepot_core.plugins.registry import Registry
    from entrepot_core.store.database import Cursor, Database
    from entrepot_core.store.small_change import Made, SmallChange
    from entrepot_core.store.tasks import NewTask, TaskRow

__all__ = ["AtOnce", "Done", "TaskTimes"]

log = structlog.get_logger()

_TURNS = 64


class TaskTimes(Protocol):
    """Is told how long tasks waited, and how long their attempts ran, in seconds."""

    def waited(self, task_type: str, seconds: float) -> None:
        """From the creation of a task to its first attempt."""

    def ran(self, task_type: str, outcome: str, seconds: float) -> None:
        """An attempt, by what became of it."""


@dataclass(frozen=True, slots=True)
class Done:
    """A task that is over, and what it made."""

    made: Made
    row: TaskRow


class AtOnce:
    """Decides which tasks are done so, does what a dispatcher would, and tells who is told then.

    Everything else waits for a dispatcher: what needs a plugin, what has to wait, what is limited,
    what has time, being in the background, and what is traced, for an attempt has its own span.
    """

    def __init__(
        self,
        database: Database,
        registry: Registry,
        *,
        noted: Callable[[], None],
        served_changed: Callable[[], None],
        times: TaskTimes | None = None,
    ) -> None:
        """`noted` is told that there are events to be numbered."""
        self._database = database
        self._registry = registry
        self._noted = noted
        self._served_changed = served_changed
        self._times = times
        self._turns = tuple(threading.Lock() for _ in range(_TURNS))

    def change(self, parameters: Parameters) -> SmallChange | None:
        """What is to be done, if it is no more than a small change."""
        if tracing.is_on():
            return None
        return shortened.small_change(self._registry.catalog(), parameters)

    def turn(self, change: SmallChange) -> threading.Lock:
        """To be held around the transaction.

        Who changes the same repository stands in line here, and not in the database, where each
        would keep a connection from all others meanwhile. Few repositories share a turn.
        """
        return self._turns[hash((change.plugin, change.repository)) % _TURNS]

    def write(self, cursor: Cursor, task: NewTask, change: SmallChange) -> Done | None:
        """Makes the version, and stores the task as completed.

        None, and nothing is done, if something is in the way. PermissionDeniedError if who makes
        it has no rights any more.
        """
        begun = at_once.begin(cursor, task, change)
        if begun is None:
            return None
        api_tokens.require_principal(cursor, task.principal)
        failpoint("commit.workspace_locked")
        made = small_change.made(change, begun.plan)
        row = at_once.complete(cursor, task, begun, made, differences.encode(made.result))
        failpoint("commit.version_inserted")
        failpoint("create.inserted")
        failpoint("commit.before_commit")
        return Done(made, row)

    def tell(self, done: Done, began: float) -> None:
        """To be called after the transaction, which `began` by time.monotonic()."""
        task_type, made = done.row.task_type, done.made
        log.info("task.completed_at_once", task=done.row.task_id, task_type=task_type)
        self._noted()
        if self._times is not None:
            self._times.waited(task_type, 0.0)
            self._times.ran(task_type, State.COMPLETED, time.monotonic() - began)
        if made.result.changed:
            if made.is_served:
                self._served_changed()
            if not made.retains_all:
                commit.after(self._database, made.result)
