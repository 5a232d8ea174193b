"""core/orphans: units that no version has, and blobs that nothing names, are collected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.core.v1 import tasks_pb2
from entrepot_core.dispatch.assignment import told
from entrepot_core.store import collector

if TYPE_CHECKING:
    from entrepot_core.blobs.blob_store import BlobStore
    from entrepot_core.dispatch.assignment import Assignment
    from entrepot_core.dispatch.verdict import Completion
    from entrepot_core.store.database import Database

__all__ = ["Orphans"]

_GRACE_SECONDS = 24 * 3600.0


class Orphans:
    """Collects orphans."""

    def __init__(self, database: Database, store: BlobStore) -> None:
        self._database = database
        self._store = store

    def __call__(self, assignment: Assignment) -> Completion:
        """Collects, or in a dry run counts."""
        asked = tasks_pb2.CollectOrphans.FromString(assignment.parameters.data)
        grace = asked.grace.ToNanoseconds() / 1e9 if asked.HasField("grace") else _GRACE_SECONDS
        collected = collector.collect(
            self._database,
            self._store,
            grace,
            dry_run=assignment.is_dry_run,
            items=assignment.items(self._database),
            plan=assignment.plan,
            check=assignment.check,
        )
        is_nothing = not (collected.content_units or collected.blobs)
        return told(
            tasks_pb2.CollectOrphansResult(
                content_units=collected.content_units,
                blobs=collected.blobs,
                blob_bytes=collected.blob_bytes,
            ),
            "There were no orphans." if is_nothing else "",
        )
