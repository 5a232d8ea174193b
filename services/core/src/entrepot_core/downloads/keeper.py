"""Files and rows of blobs, brought together in the order that survives everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_core.store import blobs, workspaces
from entrepot_rpc.failpoints import failpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from entrepot_core.blobs.blob_store import BlobBatch, BlobStore
    from entrepot_core.domain.blob import Blob, Verifier
    from entrepot_core.store.database import Cursor, Database

__all__ = ["Keeper"]


class Keeper:
    """Keeps bytes: the file is durable before the row, and there when the row is committed."""

    def __init__(self, database: Database, store: BlobStore) -> None:
        self.database = database
        self.store = store

    def record(
        self,
        batch: BlobBatch,
        *,
        workspace_id: int | None = None,
        also: Callable[[Cursor], None] | None = None,
    ) -> list[Blob]:
        """Settles a batch and makes the rows; `also` writes those that name the blobs.

        With a workspace, its attempt holds the blobs. Returns the blobs, in order of closing.
        """
        settled = batch.settle()
        with self.database.transaction() as cursor:
            if workspace_id is not None:
                workspaces.share_fate(cursor)
            blobs.register(cursor, settled, workspace_id)
            # The rows are locked now: a collector has either not begun with them, or has taken
            # the files away already, and then they come back here.
            batch.ensure()
            if also is not None:
                also(cursor)
        failpoint("bytes.recorded")
        return settled

    def write(
        self,
        chunks: Iterable[bytes],
        verifier: Verifier | None = None,
        *,
        workspace_id: int | None = None,
        also: Callable[[Cursor, Blob], None] | None = None,
    ) -> Blob:
        """Stores one blob of its own."""
        with self.store.begin() as batch:
            writer = batch.create(verifier)
            for chunk in chunks:
                writer.write(chunk)
            blob = writer.close()
            name = None if also is None else lambda cursor: also(cursor, blob)
            self.record(batch, workspace_id=workspace_id, also=name)
        return blob
