"""The folder that holds blobs, read only: `<root>/sha256/ab/cd/<64 hex digits>`."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_SHA256 = re.compile(r"[0-9a-f]{64}")
# A fifo must not keep us waiting, and a link must not lead anywhere.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class BlobFolder:
    """Finds the file of a blob. Its name is made of the digest alone."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, sha256: str) -> str:
        """Where the blob is stored, if it is.

        Raises:
            ValueError: it is not a digest.

        """
        if not _SHA256.fullmatch(sha256):
            message = "not a SHA-256"
            raise ValueError(message)
        return f"{self._root}/sha256/{sha256[:2]}/{sha256[2:4]}/{sha256}"

    def open(self, sha256: str) -> int | None:
        """A descriptor of the blob's file; None if there is no such regular file in the folder."""
        path = self.path(sha256)
        try:
            descriptor = os.open(path, _FLAGS)
        except OSError:
            return None
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode) and self._is_inside(descriptor, path):
                return descriptor
        except OSError:
            pass
        os.close(descriptor)
        return None

    def has(self, sha256: str) -> int | None:
        """The size of the blob's file; None if there is no such regular file in the folder."""
        descriptor = self.open(sha256)
        if descriptor is None:
            return None
        try:
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

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
