"""Files that become blobs together: written, synced once, named, and only then spoken of."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from entrepot_core.blobs.directory_writer import DirectoryWriter
from entrepot_core.blobs.durability import (
    storage_error,
    sync_file,
    sync_filesystem,
)
from entrepot_core.blobs.scratch_batch import ScratchBatch
from entrepot_rpc.durable import sync_directory
from entrepot_rpc.failpoints import failpoint

if TYPE_CHECKING:
    from types import TracebackType

    from entrepot_core.blobs.directory import DirectoryBlobStore
    from entrepot_core.blobs.scratch import Scratch
    from entrepot_core.domain.blob import Verifier

__all__ = ["DirectoryBatch"]

# Up to here a sync of each file is cheaper than one of everything that anybody wrote to the disk.
SMALL_BATCH = 8


class DirectoryBatch(ScratchBatch[DirectoryWriter]):
    """One batch."""

    def __init__(self, store: DirectoryBlobStore, scratch: Scratch) -> None:
        super().__init__()
        self._store = store
        self._scratch = scratch
        # Opened before anything is written, so that it hears of every write that is lost.
        try:
            self._root = os.open(store.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise storage_error(error) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, traceback)
        os.close(self._root)

    def _writer(self, verifier: Verifier) -> DirectoryWriter:
        return DirectoryWriter(self._store.disk, self._scratch, verifier, self._hand_over)

    def _publish(self, writers: list[DirectoryWriter]) -> None:
        many = len(writers) > SMALL_BATCH
        try:
            self._sync_bytes(writers, many=many)
            failpoint("bytes.complete")
            folders = {folder for writer in writers for folder in self._name(writer)}
            failpoint("bytes.renamed")
            self._sync_names(folders, many=many)
        except OSError as error:
            raise storage_error(error, self._store.disk.room()[0]) from error

    def _vanished(self, writers: list[DirectoryWriter]) -> list[DirectoryWriter]:
        return [w for w in writers if self._store.size(w.blob.digest) is None]

    def _sync_bytes(self, writers: list[DirectoryWriter], *, many: bool) -> None:
        for writer in writers:
            if many and writer.memory is None:
                # It is in its file, and what syncs all asks for no descriptor.
                continue
            writer.spill()
            if not many:
                sync_file(writer.descriptor)
            writer.release()
        if many and writers:
            sync_filesystem(self._root)

    def _name(self, writer: DirectoryWriter) -> list[str]:
        """Gives a file its final name, and returns the folders in which names have changed."""
        final = self._store.location(writer.blob.digest)
        self._store.make_folder(final)
        # In place of what has it already, which nobody has looked at for long.
        writer.move_to(final)
        folder = os.path.dirname(final)  # noqa: PTH120  thousands of them
        parent = os.path.dirname(folder)  # noqa: PTH120  as above
        return [folder, parent, os.path.dirname(parent)]  # noqa: PTH120  as above

    def _sync_names(self, folders: set[str], *, many: bool) -> None:
        if many:
            sync_filesystem(self._root)
            return
        for folder in folders:
            sync_directory(folder)
