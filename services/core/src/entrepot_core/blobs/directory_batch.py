"""Files that become blobs together: written, synced once, named, and only then spoken of."""

from __future__ import annotations

import os
import stat
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from entrepot_core.blobs.durability import (
    storage_error,
    sync_directory,
    sync_file,
    sync_filesystem,
)
from entrepot_core.domain.blob import Verifier
from entrepot_core.domain.errors import StorageFailedError
from entrepot_rpc.failpoints import failpoint

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from entrepot_core.blobs.directory import DirectoryBlobStore
    from entrepot_core.blobs.scratch import Scratch
    from entrepot_core.domain.blob import Blob

__all__ = ["DirectoryBatch", "DirectoryWriter"]

# Up to here a sync of each file is cheaper than one of everything that anybody wrote to the disk.
SMALL_BATCH = 8
# How much is written between two looks at the free room.
ROOM_STEP_BYTES = 16 * 1024**2

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class DirectoryBatch:
    """One batch. The temporary file keeps its name until the rows are there: see `ensure`."""

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
        writer = DirectoryWriter(self, self._store, self._scratch.new_path(), verifier)
        with self._guard:
            has_ended = self._has_ended
            if not has_ended:
                self._open.add(writer)
        if has_ended:
            writer.drop()
            raise _ended()
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
            self._sync_bytes(closed, many=many)
            failpoint("bytes.complete")
            folders = {folder for writer in closed for folder in self._name(writer)}
            failpoint("bytes.renamed")
            self._sync_names(folders, many=many)
        except OSError as error:
            for writer in closed:
                writer.drop()
            raise storage_error(error, *self._store.room()) from error
        failpoint("bytes.synced")
        for writer in closed:
            writer.release()
        self._settled = closed
        return [writer.blob for writer in closed]

    def ensure(self) -> None:
        vanished = [w for w in self._settled if self._store.size(w.blob.digest) is None]
        try:
            folders = {folder for writer in vanished for folder in self._name(writer)}
            self._sync_names(folders, many=len(vanished) > SMALL_BATCH)
        except OSError as error:
            raise storage_error(error) from error

    def hand_over(self, writer: DirectoryWriter, *, complete: bool) -> None:
        """Takes a writer that is done."""
        with self._guard:
            self._open.discard(writer)
            if self._has_ended:
                writer.drop()
            elif complete:
                self._closed.append(writer)
                # Too many to sync one by one, so their descriptors are of no more use.
                if len(self._closed) > SMALL_BATCH:
                    for done in self._closed[-SMALL_BATCH - 1 :]:
                        done.release()

    def _sync_bytes(self, writers: list[DirectoryWriter], *, many: bool) -> None:
        if many:
            sync_filesystem(self._root)
        else:
            for writer in writers:
                sync_file(writer.descriptor)

    def _name(self, writer: DirectoryWriter) -> list[Path]:
        """Gives a file its final name, and returns the folders in which names have changed."""
        final = self._store.path(writer.blob.digest)
        folders = [final.parent, final.parent.parent, final.parent.parent.parent]
        try:
            final.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            os.link(writer.path, final)
        except FileExistsError:
            status = final.lstat()
            if not stat.S_ISREG(status.st_mode) or status.st_size != writer.blob.size_bytes:
                # Not what we wrote: a link somebody planted, or a disk's own work.
                substitute = self._scratch.new_path()
                os.link(writer.path, substitute)
                substitute.replace(final)
        return folders

    def _sync_names(self, folders: set[Path], *, many: bool) -> None:
        if many:
            sync_filesystem(self._root)
        else:
            for folder in folders:
                sync_directory(folder)


class DirectoryWriter:
    """A temporary file that is verified while it is written.

    The batch may end, in its thread, while another thread writes: then writing fails.
    """

    def __init__(
        self, batch: DirectoryBatch, store: DirectoryBlobStore, path: Path, verifier: Verifier
    ) -> None:
        store.require_room(verifier.expected_bytes or 0)
        self.path = path
        self.descriptor = -1
        self.blob: Blob
        self._batch = batch
        self._store = store
        self._verifier = verifier
        self._room_checked = 0
        self._is_done = False
        # Or the number of a closed descriptor, which may be another file's by then, is written to.
        self._guard = threading.Lock()
        try:
            self.descriptor = os.open(path, _CREATE, 0o640)
        except OSError as error:
            raise storage_error(error, *store.room()) from error
        failpoint("bytes.opened")

    def write(self, chunk: bytes) -> None:
        self._verifier.update(chunk)
        if self._verifier.size_bytes - self._room_checked > ROOM_STEP_BYTES:
            self._store.require_room(len(chunk))
            self._room_checked = self._verifier.size_bytes
        view = memoryview(chunk)
        with self._guard:
            if self._is_done:
                raise _ended()
            try:
                while view:
                    view = view[os.write(self.descriptor, view) :]
            except OSError as error:
                raise storage_error(error, self._store.room()[0], len(chunk)) from error
        failpoint("bytes.half_written")

    def close(self) -> Blob:
        try:
            self.blob = self._verifier.finish()
        except BaseException:
            self.abort()
            raise
        with self._guard:
            if self._is_done:
                raise _ended()
            self._is_done = True
        self._batch.hand_over(self, complete=True)
        return self.blob

    def abort(self) -> None:
        if not self._is_done:
            self._batch.hand_over(self, complete=False)
            self.drop()

    def release(self) -> None:
        """Closes the file."""
        with self._guard:
            if self.descriptor >= 0:
                os.close(self.descriptor)
                self.descriptor = -1

    def drop(self) -> None:
        """Closes the file and removes its temporary name."""
        with self._guard:
            self._is_done = True
        self.release()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def _ended() -> StorageFailedError:
    return StorageFailedError("The batch that the bytes belong to has ended.")
