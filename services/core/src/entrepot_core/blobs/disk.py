"""How much fits on the disk that a folder is on. Some of it always stays free."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from entrepot_core.blobs.durability import storage_error
from entrepot_core.domain.errors import StorageFullError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Disk"]

# Neither PostgreSQL nor a log should ever meet a full disk because of us.
RESERVE_SHARE = 0.05
RESERVE_BYTES = 2 * 1024**3
# How much may be asked for, and for how many seconds, between two looks at the disk.
LOOK_BYTES = 16 * 1024**2
LOOK_SECONDS = 0.1


class Disk:
    """The disk of a folder.

    Args:
        folder: It must exist when it is asked about.
        reserve_bytes: How much stays free; by default 5 %, at most 2 GiB.
        name: What it is, in messages.
    """

    def __init__(
        self, folder: Path, reserve_bytes: int | None = None, name: str = "the blob store"
    ) -> None:
        self._folder = folder
        self._reserve_bytes = reserve_bytes
        self._name = name
        # What may still be asked for without a look, and until when.
        self._trusted_bytes = 0
        self._trusted_until = 0.0

    def require_room(self, needed_bytes: int) -> None:
        """StorageFullError if the bytes would not leave the reserve free.

        The answer may be as old as 0.1 s or 16 MiB: small files come by the thousand.
        """
        self._trusted_bytes -= needed_bytes
        if self._trusted_bytes >= 0 and time.monotonic() < self._trusted_until:
            return
        self._look(needed_bytes)

    def _look(self, needed_bytes: int) -> None:
        free, reserve = self.room()
        if free - needed_bytes < reserve:
            raise StorageFullError(
                f"The disk of {self._name} has {free} bytes free, of which {reserve} are "
                f"reserved; {needed_bytes} more are needed. Free some, or collect orphans.",
                metadata={"free_bytes": str(free), "needed_bytes": str(needed_bytes)},
                retry_after_seconds=60,
            )
        self._trusted_bytes = min(LOOK_BYTES, free - reserve - needed_bytes)
        self._trusted_until = time.monotonic() + LOOK_SECONDS

    def room(self) -> tuple[int, int]:
        """Bytes that are free on the disk, and bytes that stay so."""
        try:
            status = os.statvfs(self._folder)
        except OSError as error:
            raise storage_error(error) from error
        reserve = self._reserve_bytes
        if reserve is None:
            share = int(status.f_blocks * status.f_frsize * RESERVE_SHARE)
            reserve = min(share, RESERVE_BYTES)
        return status.f_bavail * status.f_frsize, reserve

    def free_bytes(self) -> int:
        """Bytes that fit, the reserve not counted."""
        free, reserve = self.room()
        return max(0, free - reserve)
