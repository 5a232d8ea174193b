"""The step of the one numberer: moves committed events to the log and tells everybody.

Every process of core stands by for it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from entrepot_core.store import events
from entrepot_rpc.failpoints import failpoint

if TYPE_CHECKING:
    from entrepot_core.store.database import Database

__all__ = ["Numberer"]

_BATCH = 2_000
_IDLE_SECONDS = 0.5
# Between two batches while there is always a next one: whatever happens in between is numbered,
# and told, at once.
_PACE_SECONDS = 0.004
# With a longer rest than this before it, a batch is alone, and whoever waits for the next event
# of its task waits for nobody else's.
_REST_SECONDS = 0.001


class Numberer:
    """Numbers events. It must be durable before a reader may see a number."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ended = 0.0

    def step(self) -> float:
        """Numbers one batch; returns how long until the next."""
        is_busy = time.monotonic() - self._ended < _REST_SECONDS
        with self._database.statements() as cursor:
            numbered = events.number(cursor, _BATCH)
        if not numbered.count:
            return _IDLE_SECONDS
        failpoint("events.numbered")
        with self._database.statements() as cursor:
            events.notify(cursor, events.EVENTS, str(numbered.last))
            if numbered.has_cancels:
                events.notify(cursor, events.CANCELS)
        if numbered.count == _BATCH:
            return 0.0
        if is_busy:
            time.sleep(_PACE_SECONDS)
        self._ended = time.monotonic()
        return _IDLE_SECONDS
