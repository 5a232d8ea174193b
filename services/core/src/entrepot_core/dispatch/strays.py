"""Attempts that the database says a dispatcher runs, and that it does not know of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from entrepot_core.dispatch.settling import canceled_error, encode_error
from entrepot_core.domain.errors import AttemptSupersededError
from entrepot_core.domain.task import Loss, LossCause
from entrepot_core.store import queue, retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from entrepot_core.store.database import Cursor, Database

__all__ = ["Strays"]

log = structlog.get_logger()


class Strays:
    """Gives up what a live dispatcher owns and nobody runs: who else would, while it lives?

    Such an attempt is left when the COMMIT of a claim takes effect after its session was lost, or
    when the thread that ran it ended before it was settled.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        # Workspaces that nobody ran at the last look; a claim may just have been committed.
        self._suspected: set[int] = set()

    def give_up(self, dispatcher_id: int, running: Callable[[], set[int]]) -> int:
        """Loses what is not among the `running` workspaces for the second time; returns how many.

        Raises DatabaseUnavailableError.
        """
        with self._database.statements() as cursor:
            owned = dict(queue.owned_workspaces(cursor, dispatcher_id))
        stray = owned.keys() - running()
        lost = sum(self._lose(number, owned[number]) for number in stray & self._suspected)
        self._suspected = stray
        return lost

    def _lose(self, workspace_id: int, task_id: str) -> int:
        loss = Loss(
            "The dispatcher lost sight of the attempt while the database was away.",
            is_counted=False,
            cause=LossCause.DATABASE,
        )

        def write(cursor: Cursor) -> None:
            queue.lose(
                cursor, task_id, loss, encode_error,
                canceled=canceled_error(), workspace_id=workspace_id,
            )  # fmt: skip

        try:
            retry.run(self._database, write)
        except AttemptSupersededError:
            return 0
        log.warning("dispatcher.stray_attempt", task=task_id, workspace=workspace_id)
        return 1
