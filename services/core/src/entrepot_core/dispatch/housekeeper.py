"""The step of the one housekeeper: slow work that may wait, and must not delay the sweeper."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from entrepot_core.store import collector, retention, sweep
from entrepot_core.store.blob_collection import recover_aside

if TYPE_CHECKING:
    from entrepot_core.blobs.blob_store import BlobStore
    from entrepot_core.domain.retention import Retention
    from entrepot_core.domain.task import State
    from entrepot_core.store.database import Database
    from entrepot_core.store.retention import Place

__all__ = ["Housekeeper"]

log = structlog.get_logger()

_EVERY_SECONDS = 3600.0
# Between passes over what is over, and between two batches of one pass.
_PASS_SECONDS = 60.0
_BATCH_SECONDS = 0.1
_KEEP_REQUESTS_DAYS = 7.0
_BATCH = 2_000


class Housekeeper:
    """Ends what dead processes began with blobs, notes orphans, forgets what is over for long."""

    def __init__(self, database: Database, store: BlobStore, kept: Retention) -> None:
        self._database = database
        self._store = store
        self._kept = kept
        self._due = 0.0
        # How far the pass under way has come: in tasks by state, and in origins.
        self._places: dict[State, Place] = {}
        self._origin: str | None = None

    def step(self) -> float:
        """Keeps house for a moment; returns how long until the next."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + _EVERY_SECONDS
            self._keep_blobs()
            self._origin = retention.FIRST_ORIGIN
        return _BATCH_SECONDS if self.forget() else _PASS_SECONDS

    def forget(self) -> bool:
        """Forgets a batch of everything; says whether there is more."""
        more = self._forget_requests() | self._forget_tasks() | self._forget_origins()
        return more | self._forget_events()

    def _keep_blobs(self) -> None:
        removed = self._store.sweep_temporary()
        recover_aside(self._database, self._store)
        orphans = collector.mark(self._database)
        if removed or orphans:
            log.info("housekeeper.done", temporary_files=removed, new_orphans=orphans)

    def _forget_requests(self) -> bool:
        with self._database.transaction() as cursor:
            return sweep.delete_old_requests(cursor, _KEEP_REQUESTS_DAYS, _BATCH) == _BATCH

    def _forget_tasks(self) -> bool:
        for state, days in self._kept.of_tasks().items():
            if days is None:
                continue
            place = self._places.pop(state, retention.FIRST)
            with self._database.transaction() as cursor:
                count, after = retention.forget_tasks(cursor, state, days, place)
            if count:
                log.info("housekeeper.forgot", state=state.value, tasks=count)
            if after is not None:
                self._places[state] = after
        return bool(self._places)

    def _forget_origins(self) -> bool:
        if self._origin is not None:
            with self._database.transaction() as cursor:
                _, self._origin = retention.forget_origins(cursor, self._origin)
        return self._origin is not None

    def _forget_events(self) -> bool:
        days = self._kept.events_days
        if days is None:
            return False
        with self._database.transaction() as cursor:
            return sweep.delete_old_events(cursor, days, _BATCH) == _BATCH
