"""The folder that holds blobs, read only: `<root>/sha256/ab/cd/<64 hex digits>`."""

from __future__ import annotations

import asyncio
import os
import re
import stat
from typing import TYPE_CHECKING

from entrepot_gateway.content.answer import BrokenConnectionError

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import Send

    from entrepot_gateway.content.ranges import Range

CHUNK_BYTES = 256 * 1024

_SHA256 = re.compile(r"[0-9a-f]{64}")
# A fifo must not keep us waiting, and a link must not lead anywhere.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class FileSeal:
    """The identity of a file that was found to be a regular one in the folder.

    As long as the path leads to it, no link was put in the way.
    """

    __slots__ = ("_identity", "_path")

    def __init__(self, path: str, status: os.stat_result) -> None:
        self._path = path
        self._identity = _identity(status)

    def holds(self) -> bool:
        """Whether the path leads to that file: one call, without opening it."""
        try:
            return _identity(os.lstat(self._path)) == self._identity
        except OSError:
            return False


class OpenFile:
    """A blob's file, open."""

    __slots__ = ("_descriptor", "internal_path", "path", "seal", "size")

    # Nowhere but here.
    location = ""

    def __init__(
        self, descriptor: int, path: str, internal_path: str, status: os.stat_result
    ) -> None:
        self._descriptor = descriptor
        self.path = path
        self.internal_path = internal_path
        self.size = status.st_size
        self.seal = FileSeal(path, status)

    async def send(self, send: Send, first: int, last: int) -> None:
        """Send a part of it."""
        loop = asyncio.get_running_loop()
        end = last + 1
        while first < end:
            count = min(CHUNK_BYTES, end - first)
            # Small pieces come from memory, as a rule; large ones may wait for the disk.
            if count < CHUNK_BYTES:
                chunk = os.pread(self._descriptor, count, first)
            else:
                chunk = await loop.run_in_executor(None, os.pread, self._descriptor, count, first)
            if not chunk:
                raise BrokenConnectionError("the file is shorter than it was")
            first += len(chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)


class BlobFolder:
    """Finds the file of a blob. Its name is made of the digest alone.

    Args:
        root: The folder.
        accel: The path at which a proxy in front has the folder for itself; empty: there is none.
    """

    def __init__(self, root: Path, accel: str = "") -> None:
        self._root = root
        self._accel = accel

    def path(self, sha256: str) -> str:
        """Where the blob is stored, if it is.

        Raises:
            ValueError: it is not a digest.

        """
        if not _SHA256.fullmatch(sha256):
            message = "not a SHA-256"
            raise ValueError(message)
        return f"{self._root}/{_location(sha256)}"

    async def open(self, sha256: str, wanted: Range | None = None) -> OpenFile | None:
        """The blob's file; None if there is no such regular file in the folder."""
        _ = wanted
        path = self.path(sha256)
        try:
            descriptor = os.open(path, _FLAGS)
        except OSError:
            return None
        try:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and self._is_inside(descriptor, path):
                internal_path = f"{self._accel}/{_location(sha256)}" if self._accel else ""
                return OpenFile(descriptor, path, internal_path, status)
        except OSError:
            pass
        os.close(descriptor)
        return None

    def _is_inside(self, descriptor: int, path: str) -> bool:
        """Say whether no folder on the way was a link; the root itself may be one."""
        try:
            actual = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115  on the hot path
        except OSError:
            # Not on Linux: the last segment was checked when it was opened.
            return True
        if actual == path:
            return True
        root = os.path.realpath(self._root)
        return actual == root + path[len(str(self._root)) :]


def _location(sha256: str) -> str:
    return f"sha256/{sha256[:2]}/{sha256[2:4]}/{sha256}"


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_mode, status.st_size
