"""Disks that are files, and where they are mounted: for this process and its children only."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polling import until

_CLONE_NEWNS = 0x00020000
_PATIENCE_SECONDS = 15.0


def become_private() -> None:
    """Give this thread, and what it starts from now on, mounts of its own.

    Whatever is mounted then ends with the last of these processes, however they end.
    """
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"no mounts of our own: {os.strerror(number)}")
    _run("mount", "--make-rprivate", "/")


def make_filesystem(path: Path, size_bytes: int) -> None:
    """Make a file that is a disk with ext4, all of which is written at once."""
    with path.open("wb") as file:
        file.truncate(size_bytes)
    options = "lazy_itable_init=0,lazy_journal_init=0,nodiscard"
    _run("mkfs.ext4", "-q", "-F", "-E", options, str(path))


@contextmanager
def mounted(disk: Path, folder: Path) -> Iterator[Path]:
    """The folder, in which the disk is mounted meanwhile."""
    folder.mkdir(exist_ok=True)
    # The loop device goes when it is unmounted. Of itself, ext4 would write its journal every five
    # seconds, and make good what was not synced.
    _run("mount", "-t", "ext4", "-o", "loop,noatime,commit=300", str(disk), str(folder))
    try:
        yield folder
    finally:
        unmount(folder)


def copy(source: Path, target: Path) -> None:
    """Copy a disk, most of which is holes, and stays so."""
    _run("cp", "--sparse=always", str(source), str(target))


def unmount(folder: Path) -> None:
    """Unmount, as soon as the last process has left."""
    try:
        until(lambda: _has_left(folder), f"{folder} to be left", _PATIENCE_SECONDS)
    except AssertionError:
        # Whoever is there still ends with us, and the mount with them.
        _run("umount", "--lazy", str(folder))
        raise


def _has_left(folder: Path) -> bool:
    done = subprocess.run(["umount", folder], capture_output=True, text=True, check=False)
    return done.returncode == 0 or not os.path.ismount(folder)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
