"""Bytes on their way: a file without a name, written once and read by many while it grows."""

from __future__ import annotations

import os
import tempfile
import threading

from entrepot_rpc.errors import Code, ServiceError

__all__ = ["Spool"]

# As blobs: what else is on the disk, PostgreSQL for one, must not meet its end because of us.
RESERVE_SHARE = 0.05
RESERVE_BYTES = 2 * 1024**3
# How much is written between two looks at the free room.
_STEP_BYTES = 16 * 1024**2


class Spool:
    """Appended to by one thread, read by any; its room is given back by `close`, at any time.

    It lies in the folder that the environment names as TMPDIR, else in /var/tmp, which, unlike
    /tmp, is hardly ever memory. The file is made with the first byte.
    """

    def __init__(self) -> None:
        self.size_bytes = 0
        self._room_checked = -_STEP_BYTES
        self._descriptor = -1
        self._is_closed = False
        # Or a number that was closed, and is another file's by then, is read or written.
        self._guard = threading.Lock()

    def write(self, chunk: bytes | memoryview) -> None:
        """Appends. ServiceError STORAGE_FULL if the disk has no room for it."""
        with self._guard:
            if self._is_closed:
                return
            try:
                self._append(memoryview(chunk))
            except OSError as error:
                raise _full(error.strerror or "it cannot be written") from error

    def read(self, offset: int, count: int) -> bytes:
        """At most so many bytes from an offset; fewer at the end of what is written."""
        with self._guard:
            count = min(count, self.size_bytes - offset)
            return os.pread(self._descriptor, count, offset) if count > 0 else b""

    def truncate(self, size_bytes: int) -> None:
        """Forgets everything after so many bytes."""
        self.size_bytes = min(self.size_bytes, size_bytes)

    def close(self) -> None:
        """Gives the room back, and takes no more. May be called twice."""
        with self._guard:
            self._is_closed = True
            self.size_bytes = 0
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _append(self, view: memoryview) -> None:
        if self._descriptor < 0:
            self._descriptor = _open()
        if self.size_bytes - self._room_checked >= _STEP_BYTES:
            self._require_room(len(view))
            self._room_checked = self.size_bytes
        while view:
            count = os.pwrite(self._descriptor, view, self.size_bytes)
            view = view[count:]
            self.size_bytes += count

    def _require_room(self, needed_bytes: int) -> None:
        status = os.fstatvfs(self._descriptor)
        free = status.f_bavail * status.f_frsize
        reserve = min(int(status.f_blocks * status.f_frsize * RESERVE_SHARE), RESERVE_BYTES)
        if free - needed_bytes < reserve:
            raise _full(f"{free} bytes are free, of which {reserve} are reserved")


def _open() -> int:
    folder = os.environ.get("TMPDIR") or "/var/tmp"  # noqa: S108  without a name: nobody can guess it
    with tempfile.TemporaryFile(dir=folder if os.path.isdir(folder) else None) as file:  # noqa: PTH112
        return os.dup(file.fileno())


def _full(why: str) -> ServiceError:
    return ServiceError.of(
        Code.RESOURCE_EXHAUSTED,
        "STORAGE_FULL",
        f"The folder for temporary files is full: {why}. Free some, or name another as TMPDIR.",
        retry_after_seconds=60,
    )
