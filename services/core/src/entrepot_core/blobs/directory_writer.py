"""One blob on its way into a folder: in memory while it is small, else in a temporary file."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from entrepot_core.blobs.durability import storage_error
from entrepot_core.domain.errors import StorageFailedError
from entrepot_rpc.failpoints import failpoint

if TYPE_CHECKING:
    from entrepot_core.blobs.directory import DirectoryBlobStore
    from entrepot_core.blobs.scratch import Scratch
    from entrepot_core.domain.blob import Blob, Verifier

__all__ = ["DirectoryWriter", "ended"]

# Up to here the bytes wait in memory until their batch is settled: whoever receives them, such as
# the downloader's loop, does not wait for the disk.
MEMORY_BYTES = 64 * 1024
# How much is written between two looks at the free room.
ROOM_STEP_BYTES = 16 * 1024**2

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class _HandOver(Protocol):
    def __call__(self, writer: DirectoryWriter, /, *, is_complete: bool) -> None: ...


class DirectoryWriter:
    """A writer of a batch, which may end, in its thread, while another thread writes."""

    def __init__(
        self,
        store: DirectoryBlobStore,
        scratch: Scratch,
        verifier: Verifier,
        hand_over: _HandOver,
    ) -> None:
        store.require_room(verifier.expected_bytes or 0)
        self.blob: Blob
        self.descriptor = -1
        self._store = store
        self._scratch = scratch
        self._verifier = verifier
        self._hand_over = hand_over
        self._path = ""
        self._memory: list[bytes] | None = []
        self._room_checked = 0
        self._is_done = False
        # Or a descriptor that was closed, and is another file's by then, is written to.
        self._guard = threading.Lock()

    def write(self, chunk: bytes) -> None:
        self._verifier.update(chunk)
        size = self._verifier.size_bytes
        if size - self._room_checked > ROOM_STEP_BYTES:
            self._store.require_room(len(chunk))
            self._room_checked = size
        with self._guard:
            if self._is_done:
                raise ended()
            if self._memory is not None and size <= MEMORY_BYTES:
                self._memory.append(bytes(chunk))
                return
            try:
                self._open()
                if self._memory is not None:
                    self._write(self._memory)
                    self._memory = None
                self._write([chunk])
            except OSError as error:
                raise storage_error(error, self._store.room()[0], len(chunk)) from error

    def close(self) -> Blob:
        try:
            self.blob = self._verifier.finish()
        except BaseException:
            self.abort()
            raise
        with self._guard:
            if self._is_done:
                raise ended()
            self._is_done = True
            # What waits for its batch must not hold descriptors: there may be a thousand.
            self._close()
        self._hand_over(self, is_complete=True)
        return self.blob

    def abort(self) -> None:
        if not self._is_done:
            self._is_done = True
            self._hand_over(self, is_complete=False)

    def spill(self) -> None:
        """Opens the temporary file with all bytes in it, for the batch to sync. OSError."""
        with self._guard:
            if self._path:
                if self.descriptor < 0:
                    self.descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
            elif self._memory is not None:
                self._open()
                self._write(self._memory)

    def move_to(self, final: str) -> None:
        """Gives the synced file its final name, in place of whatever has it. OSError."""
        if self._memory is not None:
            os.rename(self._path, final)  # noqa: PTH104  thousands of them
            self._path = ""
            return
        # The temporary name is kept: nothing else could bring the bytes back.
        try:
            os.link(self._path, final)
        except FileExistsError:
            substitute = self._scratch.new_path()
            os.link(self._path, substitute)
            os.replace(substitute, final)  # noqa: PTH105  as above

    def release(self) -> None:
        """Closes the file."""
        with self._guard:
            self._close()

    def drop(self) -> None:
        """Forgets the bytes, and removes their temporary name."""
        with self._guard:
            self._is_done = True
            self._close()
            self._memory = None
            path, self._path = self._path, ""
        if path:
            with suppress(OSError):
                os.unlink(path)  # noqa: PTH108  as above

    def _open(self) -> None:
        if self.descriptor < 0:
            path = self._scratch.new_path()
            self.descriptor = os.open(path, _CREATE, 0o640)
            self._path = path
            failpoint("bytes.opened")

    def _write(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                view = view[os.write(self.descriptor, view) :]
            failpoint("bytes.half_written")

    def _close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def ended() -> StorageFailedError:
    """The error of whoever writes into a batch that is over."""
    return StorageFailedError("The batch that the bytes belong to has ended.")
