"""One blob on its way in: in memory while it is small, else in a temporary file."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from entrepot_core.blobs.durability import storage_error
from entrepot_core.domain.errors import StorageFailedError
from entrepot_rpc.failpoints import failpoint

if TYPE_CHECKING:
    from entrepot_core.blobs.disk import Disk
    from entrepot_core.blobs.scratch import Scratch
    from entrepot_core.domain.blob import Blob, Verifier

__all__ = ["HandOver", "ScratchWriter", "ended"]

# Up to here the bytes wait in memory until their batch is settled: whoever receives them, such as
# the downloader's loop, does not wait for the disk.
MEMORY_BYTES = 64 * 1024
# How much is written between two looks at the free room.
ROOM_STEP_BYTES = 16 * 1024**2

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class HandOver(Protocol):
    """Takes a writer that is closed, or was aborted."""

    def __call__(self, writer: Any, /, *, is_complete: bool) -> None: ...  # noqa: ANN401


class ScratchWriter:
    """A writer of a batch, which may end, in its thread, while another thread writes."""

    def __init__(
        self,
        disk: Disk,
        scratch: Scratch,
        verifier: Verifier,
        hand_over: HandOver,
    ) -> None:
        disk.require_room(verifier.expected_bytes or 0)
        self.blob: Blob
        self.descriptor = -1
        self._disk = disk
        self.scratch = scratch
        self._verifier = verifier
        self._hand_over = hand_over
        self.path = ""
        self.memory: list[bytes] | None = []
        self._room_checked = 0
        self._is_done = False
        # Or a descriptor that was closed, and is another file's by then, is written to.
        self._guard = threading.Lock()

    def write(self, chunk: bytes) -> None:
        try:
            self._take(chunk)
        except BaseException:
            # The verifier has seen bytes that are not here: nothing may be made of it any more.
            self.abort()
            raise

    def _take(self, chunk: bytes) -> None:
        self._verifier.update(chunk)
        size = self._verifier.size_bytes
        if size - self._room_checked > ROOM_STEP_BYTES:
            self._disk.require_room(len(chunk))
            self._room_checked = size
        with self._guard:
            if self._is_done:
                raise ended()
            if self.memory is not None and size <= MEMORY_BYTES:
                self.memory.append(bytes(chunk))
                return
            try:
                self._open()
                if self.memory is not None:
                    self._write(self.memory)
                    self.memory = None
                self._write([chunk])
            except OSError as error:
                raise storage_error(error, self._disk.room()[0], len(chunk)) from error

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
            if self.path:
                if self.descriptor < 0:
                    self.descriptor = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
            elif self.memory is not None:
                self._open()
                self._write(self.memory)

    def source(self) -> bytes | Path:
        """The bytes of a closed writer, or the file that they are in."""
        return Path(self.path) if self.memory is None else b"".join(self.memory)

    def release(self) -> None:
        """Closes the file."""
        with self._guard:
            self._close()

    def drop(self) -> None:
        """Forgets the bytes, and removes their temporary name."""
        with self._guard:
            self._is_done = True
            self._close()
            self.memory = None
            path, self.path = self.path, ""
        if path:
            with suppress(OSError):
                os.unlink(path)  # noqa: PTH108  as above

    def _open(self) -> None:
        if self.descriptor < 0:
            path = self.scratch.new_path()
            self.descriptor = os.open(path, _CREATE, 0o640)
            self.path = path
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
