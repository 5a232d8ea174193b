"""Several attempts that make small changes, in one transaction: a flush for all, not for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from entrepot.plugin.v1 import describe_pb2
from entrepot_core.domain.errors import ServiceError
from entrepot_core.plugins import shortened
from entrepot_core.plugins.descriptors import pack_bytes
from entrepot_core.store.small_change import MAX_UNITS
from entrepot_rpc import correlation, tracing
from entrepot_rpc.failpoints import failpoint

if TYPE_CHECKING:
    from collections.abc import Iterable

    from entrepot_core.dispatch.attempt import Attempt, AttemptTools
    from entrepot_core.dispatch.claim import Following
    from entrepot_core.store.queue import Claimed
    from entrepot_core.store.small_change import SmallChange

__all__ = ["MOST", "Batch", "may_share"]

log = structlog.get_logger()

MOST = 8
"""Attempts in a batch: each waits for all, so it is over in some 20 ms."""

_TYPE = describe_pb2.TaskType
_IMPLEMENTATIONS = (_TYPE.IMPLEMENTATION_CORE_ADD, _TYPE.IMPLEMENTATION_CORE_REMOVE)


def may_share(tools: AttemptTools, claimed: Claimed) -> bool:
    """Whether a look at the type of a task says that it may be a small change."""
    if claimed.is_dry_run or claimed.commits is not None or tracing.is_on():
        # A traced attempt has a span, and so a time, of its own.
        return False
    try:
        view = tools.registry.task_type(claimed.parameters_type)
    except ServiceError:
        return False
    return view.declared.implementation in _IMPLEMENTATIONS


class Batch:
    """Attempts whose tasks lock different repositories, as all that run at once do."""

    def __init__(
        self, tools: AttemptTools, attempts: Iterable[Attempt], follow: Following
    ) -> None:
        """`follow` is called at the end of the transaction."""
        self._tools = tools
        # Locks are taken in this order everywhere.
        self._attempts = sorted(attempts, key=lambda one: one.claimed.lane)
        self._follow = follow

    def run(self) -> list[Attempt]:
        """Does what can be done together; the attempts that are left must each run by itself.

        Nothing is refused here: what is refused by itself has its own reason.
        """
        try:
            return self._run()
        except Exception as error:  # noqa: BLE001  each meets it again, and its task says so
            log.info("batch.divided", attempts=len(self._attempts), error=str(error))
            return self._attempts

    def _run(self) -> list[Attempt]:
        changes: list[tuple[Attempt, SmallChange]] = []
        left: list[Attempt] = []
        room = MAX_UNITS
        for attempt in self._attempts:
            change = self._change(attempt)
            if change is None or len(change.units) > room:
                left.append(attempt)
            else:
                room -= len(change.units)
                changes.append((attempt, change))
        if not changes:
            return left
        for attempt, _ in changes:
            self._tools.observer.started(attempt.claimed)
        failpoint("commit.downloaded")
        done = self._tools.settler.change(
            [(attempt.claimed, change) for attempt, change in changes], self._follow
        )
        for (attempt, _), is_done in zip(changes, done, strict=True):
            if is_done:
                _tell(attempt.claimed)
            else:
                left.append(attempt)
        return left

    def _change(self, attempt: Attempt) -> SmallChange | None:
        claimed, tools = attempt.claimed, self._tools
        if attempt.stop_reason is not None:
            return None
        packed = pack_bytes(claimed.parameters_type, claimed.parameters)
        parameters = tools.reader.decode(packed)
        if claimed.declaration_id != tools.registry.declaration_id(parameters.view.plugin):
            # The plugin was upgraded, and is asked again.
            return None
        return shortened.small_change(tools.registry.catalog(), parameters)


def _tell(claimed: Claimed) -> None:
    told = log.bind(task=claimed.task_id, attempt=claimed.attempt)
    with correlation.bound(request_id=claimed.origin_request):
        told.info("attempt.started", task_type=claimed.task_type)
        told.info("attempt.completed")
