"""core/migrations: blobs move from the store that was to the store that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.core.v1 import tasks_pb2
from entrepot.type.v1 import progress_pb2
from entrepot_core.blobs.migration import Migration
from entrepot_core.blobs.succession import Succession
from entrepot_core.dispatch.assignment import told
from entrepot_core.domain.errors import FieldInvalidError
from entrepot_core.store import blobs
from entrepot_core.store.plans import ADDITION

if TYPE_CHECKING:
    from entrepot_core.blobs.blob_store import BlobStore
    from entrepot_core.dispatch.assignment import Assignment
    from entrepot_core.dispatch.verdict import Completion
    from entrepot_core.domain.blob import Blob
    from entrepot_core.store.database import Database

__all__ = ["Migrations"]


class Migrations:
    """Copies what the new store does not have."""

    def __init__(self, database: Database, store: BlobStore) -> None:
        self._database = database
        self._store = store

    def __call__(self, assignment: Assignment) -> Completion:
        """Copies, or in a dry run counts. FieldInvalidError without a previous store."""
        if not isinstance(self._store, Succession):
            # Who forgot the setting must not believe that all is copied, and delete what was.
            raise FieldInvalidError.at(
                "ENTREPOT_BLOBS_PREVIOUS_URL",
                "it is not set for the dispatcher, so nothing was looked at. "
                "Set it to the store that blobs move from, and start again.",
            )
        migration = Migration(self._store.new, self._store.previous, self._is_wanted)
        total = blobs.total(self._database)

        def look(done: int) -> None:
            assignment.check()
            assignment.report(
                progress_pb2.Progress(
                    code="blobs.migrate",
                    message="Copying blobs to the new store",
                    done=done,
                    total=max(total, done),
                    unit=progress_pb2.Progress.UNIT_ITEMS,
                )
            )

        items = assignment.items(self._database)
        if items is None:
            moved = migration.run(blobs.walk(self._database, assignment.plan), look)
        else:
            moved = migration.plan(
                blobs.walk(self._database), look, lambda blob: items.add_blob(ADDITION, blob)
            )
            items.close()
        is_nothing = not (moved.blobs or moved.unreadable)
        return told(
            tasks_pb2.MigrateBlobsResult(
                blobs=moved.blobs,
                blob_bytes=moved.size_bytes,
                unreadable_blobs=moved.unreadable,
                unreadable_sha256=[digest.hex() for digest in moved.unreadable_digests],
            ),
            "Every blob is in the new store." if is_nothing else "",
        )

    def _is_wanted(self, blob: Blob) -> bool:
        with self._database.transaction() as cursor:
            return bool(blobs.find(cursor, [blob.digest]))
