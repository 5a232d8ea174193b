"""A disk for nbdkit, kept in one file, with a log of every write and every flush, in order.

`nbdkit python recorder.py disk=FILE log=FILE`. It runs in nbdkit's own Python, and so without
anything of ours.
"""

import os
import struct
import time

API_VERSION = 2
# When, by the monotonic clock; where, or FLUSH; how many bytes, which come after it.
RECORD = struct.Struct("<dqq")
FLUSH = -1

_files: dict[str, int] = {}


def config(key: str, value: str) -> None:
    """Open the disk, or the log."""
    flags = os.O_RDWR if key == "disk" else os.O_WRONLY | os.O_CREAT | os.O_APPEND
    _files[key] = os.open(value, flags, 0o600)


def open(readonly: bool) -> int:  # noqa: A001, nbdkit calls it so
    """Begin to serve."""
    return _files["disk"]


def get_size(disk: int) -> int:
    """Bytes of the disk."""
    return os.fstat(disk).st_size


def pread(disk: int, buf: bytearray, offset: int, flags: int) -> None:
    """Read."""
    os.preadv(disk, [buf], offset)


def pwrite(disk: int, buf: bytes, offset: int, flags: int) -> None:
    """Write, which nobody may rely on before the next flush."""
    _log(offset, buf)
    os.pwrite(disk, buf, offset)


def flush(disk: int, flags: int) -> None:
    """Make what was written durable: from here on it is, in every disk that is made of the log."""
    _log(FLUSH, b"")


def _log(offset: int, data: bytes) -> None:
    os.writev(_files["log"], [RECORD.pack(time.monotonic(), offset, len(data)), data])
