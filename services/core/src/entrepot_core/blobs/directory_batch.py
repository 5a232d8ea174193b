"""Files that become blobs together: written, synced once, named, and only then spoken of."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from entrepot_core.blobs.directory_writer import DirectoryWriter, ended
from entrepot_core.blobs.durability import (
    storage_error,
    sync_directory,
    sync_file,
    sync_filesystem,
)
from entrepot_core.domain.blob import Verifier
from entrepot_rpc.failpoints import failpoint

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from entrepot_core.blobs.directory import DirectoryBlobStore
    from entrepot_core.blobs.scratch import Scratch
    from entrepot_core.domain.blob import Blob

__all__ = ["DirectoryBatch"]

# Up to here a sync of each file is cheaper than one of everything that anybody wrote to the disk.
SMALL_BATCH = 8


class DirectoryBatch:
    """One batch.

    The bytes are kept a second time, under their temporary name or in memory, until the rows are
    there: see `ensure`.
    """

    def __init__(self, store: DirectoryBlobStore, scratch: Scratch) -> None:
        self._store = store
        self._scratch = scratch
        self._guard = threading.Lock()
        self._open: set[DirectoryWriter] = set()
        self._closed: list[DirectoryWriter] = []
        self._settled: list[DirectoryWriter] = []
        self._has_ended = False
        # Opened before anything is written, so that it hears of every write that is lost.
        try:
            self._root = os.open(store.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise storage_error(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._guard:
            self._has_ended = True
            writers = [*self._open, *self._closed, *self._settled]
            self._open.clear()
            self._closed, self._settled = [], []
        for writer in writers:
            writer.drop()
        os.close(self._root)

    def create(self, verifier: Verifier | None = None) -> DirectoryWriter:
        verifier = verifier or Verifier()
        writer = DirectoryWriter(self._store, self._scratch, verifier, self._hand_over)
        with self._guard:
            if self._has_ended:
                raise ended()
            self._open.add(writer)
        return writer

    def settle(self) -> list[Blob]:
        for recorded in self._settled:
            recorded.drop()
        with self._guard:
            closed, self._closed, self._settled = self._closed, [], []
        if not closed:
            return []
        many = len(closed) > SMALL_BATCH
        try:
            self._sync_bytes([w for w in closed if not self._is_there(w)], many=many)
            failpoint("bytes.complete")
            folders = {folder for writer in closed for folder in self._name(writer)}
            failpoint("bytes.renamed")
            self._sync_names(folders, many=many)
        except OSError as error:
            for writer in closed:
                writer.drop()
            raise storage_error(error, self._store.room()[0]) from error
        failpoint("bytes.synced")
        self._settled = closed
        return [writer.blob for writer in closed]

    def ensure(self) -> None:
        vanished = [w for w in self._settled if self._store.size(w.blob.digest) is None]
        if not vanished:
            return
        many = len(vanished) > SMALL_BATCH
        try:
            self._sync_bytes(vanished, many=many)
            folders = {folder for writer in vanished for folder in self._name(writer)}
            self._sync_names(folders, many=many)
        except OSError as error:
            raise storage_error(error, self._store.room()[0]) from error

    def _hand_over(self, writer: DirectoryWriter, *, is_complete: bool) -> None:
        with self._guard:
            self._open.discard(writer)
            if is_complete and not self._has_ended:
                self._closed.append(writer)
                return
        writer.drop()

    def _is_there(self, writer: DirectoryWriter) -> bool:
        # Named by somebody who had synced it: only the name may still have to become durable.
        return self._store.size(writer.blob.digest) == writer.blob.size_bytes

    def _sync_bytes(self, writers: list[DirectoryWriter], *, many: bool) -> None:
        for writer in writers:
            writer.spill()
            if not many:
                sync_file(writer.descriptor)
            writer.release()
        if many and writers:
            sync_filesystem(self._root)

    def _name(self, writer: DirectoryWriter) -> list[str]:
        """Gives a file its final name, and returns the folders in which names have changed."""
        final = self._store.location(writer.blob.digest)
        if not self._is_there(writer):
            self._store.make_folder(final)
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
