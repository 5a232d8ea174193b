"""What makes files durable. A sync that failed is never asked again: the kernel may forget why."""

from __future__ import annotations

import ctypes
import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from entrepot_core.domain.errors import StorageFailedError, StorageFullError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["storage_error", "storage_errors", "sync_file", "sync_filesystem"]

_libc = ctypes.CDLL(None, use_errno=True)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def sync_filesystem(descriptor: int) -> None:
    """Writes the whole filesystem of an open file to its disk; OSError if any of it was lost.

    What was lost is reported once per descriptor, from the moment it was opened: open it before
    the writes that it is to answer for.
    """
    syncfs = getattr(_libc, "syncfs", None)
    if syncfs is None:
        # Not Linux: a full sync tells no errors, so it is followed by one that does.
        os.sync()
        os.fsync(descriptor)
        return
    if syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def sync_file(descriptor: int) -> None:
    """Writes one file to its disk; OSError if it cannot."""
    os.fsync(descriptor)


def storage_error(
    error: OSError, free_bytes: int = 0, needed_bytes: int = 0
) -> StorageFullError | StorageFailedError:
    """What an error of the filesystem means to whoever wanted to store something."""
    if error.errno in _FULL:
        return StorageFullError(
            f"The disk of the blob store is full: {free_bytes} bytes are free.",
            metadata={"free_bytes": str(free_bytes), "needed_bytes": str(needed_bytes)},
            retry_after_seconds=60,
        )
    name = errno.errorcode.get(error.errno or 0, "unknown error")
    return StorageFailedError(
        f"The blob store fails: {os.strerror(error.errno or 0)} ({name}).", retry_after_seconds=30
    )


@contextmanager
def storage_errors() -> Iterator[None]:
    """Tells every error of the filesystem in its block as `storage_error` does."""
    try:
        yield
    except OSError as error:
        raise storage_error(error) from error
