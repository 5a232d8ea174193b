"""The step of the one housekeeper: slow work that may wait, and must not delay the sweeper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from entrepot_core.store import collector
from entrepot_core.store.blob_collection import recover_aside

if TYPE_CHECKING:
    from entrepot_core.blobs.blob_store import BlobStore
    from entrepot_core.store.database import Database

__all__ = ["Housekeeper"]

log = structlog.get_logger()

_EVERY_SECONDS = 3600.0


class Housekeeper:
    """Ends what dead processes began with blobs, and notes since when units are orphans."""

    def __init__(self, database: Database, store: BlobStore) -> None:
        self._database = database
        self._store = store

    def step(self) -> float:
        """Keeps house once; returns how long until the next."""
        removed = self._store.sweep_temporary()
        recover_aside(self._database, self._store)
        orphans = collector.mark(self._database)
        if removed or orphans:
            log.info("housekeeper.done", temporary_files=removed, new_orphans=orphans)
        return _EVERY_SECONDS
