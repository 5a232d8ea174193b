"""How much fits on the disk that a folder is on. Some of it always stays free."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from entrepot_core.blobs.durability import storage_error
from entrepot_core.domain.errors import StorageFullError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Disk"]

# Neither PostgreSQL nor a log should ever meet a full disk because of us.
RESERVE_SHARE = 0.05
RESERVE_BYTES = 2 * 1024**3


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

    def require_room(self, needed_bytes: int) -> None:
        """StorageFullError if the bytes would not leave the reserve free."""
        free, reserve = self.room()
        if free - needed_bytes < reserve:
            raise StorageFullError(
                f"The disk of {self._name} has {free} bytes free, of which {reserve} are "
                f"reserved; {needed_bytes} more are needed. Free some, or collect orphans.",
                metadata={"free_bytes": str(free), "needed_bytes": str(needed_bytes)},
                retry_after_seconds=60,
            )

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
