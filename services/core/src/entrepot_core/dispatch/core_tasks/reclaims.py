"""core/reclaims: stored bytes that can be fetched again are dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.core.v1 import tasks_pb2
from entrepot.type.v1 import progress_pb2
from entrepot_core.dispatch.assignment import told
from entrepot_core.dispatch.core_tasks.repositories import repository_ids
from entrepot_core.store import blob_collection, reclaiming
from entrepot_core.store.plan_items import BLOBS, check_blobs
from entrepot_core.store.plans import REMOVAL

if TYPE_CHECKING:
    from entrepot_core.blobs.blob_store import BlobStore
    from entrepot_core.dispatch.assignment import Assignment
    from entrepot_core.dispatch.verdict import Completion
    from entrepot_core.store.blob_collection import CollectedBlobs
    from entrepot_core.store.database import Database

__all__ = ["Reclaims"]

_OLDER_THAN_SECONDS = 3600.0


class Reclaims:
    """Reclaims space."""

    def __init__(self, database: Database, store: BlobStore) -> None:
        self._database = database
        self._store = store

    def __call__(self, assignment: Assignment) -> Completion:
        """Drops, or in a dry run counts."""
        asked = tasks_pb2.ReclaimSpace.FromString(assignment.parameters.data)
        older_than = (
            asked.older_than.ToNanoseconds() / 1e9
            if asked.HasField("older_than")
            else _OLDER_THAN_SECONDS
        )

        def report(removed: CollectedBlobs) -> None:
            assignment.check()
            assignment.report(
                progress_pb2.Progress(
                    code="core.reclaims",
                    message="Dropping files",
                    done=removed.bytes,
                    unit=progress_pb2.Progress.UNIT_BYTES,
                )
            )

        which = reclaiming.reclaimable(
            repository_ids(self._database, asked.repositories),
            older_than,
            include_immediate=asked.include_immediate,
        )
        items = assignment.items(self._database)
        if items is not None:
            items.select(
                REMOVAL, f"{BLOBS} {which.condition} AND {which.choice}", which.parameters
            )
        if assignment.plan is not None:
            check_blobs(
                self._database,
                f"{which.condition} AND {which.choice}",
                {**which.parameters, "plan": assignment.plan},
            )
        removed = blob_collection.remove_blobs(
            self._database,
            self._store,
            blob_collection.only_planned(which, assignment.plan),
            dry_run=assignment.is_dry_run,
            report=report,
        )
        return told(
            tasks_pb2.ReclaimSpaceResult(blobs=removed.blobs, blob_bytes=removed.bytes),
            "" if removed.blobs else "There was nothing that could be fetched again.",
        )
