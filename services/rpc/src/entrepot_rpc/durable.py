"""Files and names that are there after a power cut."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["create_private", "sync_directory"]


def create_private(path: Path, data: bytes) -> bool:
    """Makes a file that only its owner may read; False if one is there, which stays as it is.

    At no moment can another user read it, no crash leaves half of it, and none takes it away once
    this has returned. Raises OSError if it cannot be made.
    """
    if path.exists():
        return False
    descriptor, unfinished = tempfile.mkstemp(
        dir=path.parent, prefix=f"{path.name}.", suffix=".new"
    )
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        try:
            # Unlike a rename, this never replaces the file of somebody who was faster.
            os.link(unfinished, path)
        except FileExistsError:
            return False
    finally:
        os.unlink(unfinished)  # noqa: PTH108  as mkstemp names it
    sync_directory(path.parent)
    return True


def sync_directory(path: Path | str) -> None:
    """Writes the names in one folder to its disk; OSError if it cannot."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
