"""Temporary files, in one folder per process, so that those of a dead one are known as such."""

from __future__ import annotations

import fcntl
import itertools
import os
import secrets
import shutil
import threading
from typing import TYPE_CHECKING

from entrepot_core.blobs.durability import storage_error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Scratch"]

_LOCK_SUFFIX = ".lock"


class Scratch:
    """Names for temporary files. A lock, held while the process lives, says they are in use."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._guard = threading.Lock()
        self._folder: Path | None = None
        self._lock = -1
        self._numbers = itertools.count()

    def new_path(self) -> str:
        """A path that no file has had."""
        return f"{self._own_folder()}/{next(self._numbers)}"

    def sweep(self) -> int:
        """Removes what dead processes left, and returns how many files that were."""
        swept = 0
        for lock, folder, descriptor in self._dead():
            swept += _count(folder)
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)
            os.close(descriptor)
        return swept

    def residue(self) -> int:
        """How many files dead processes left."""
        left = 0
        for _, folder, descriptor in self._dead():
            left += _count(folder)
            os.close(descriptor)
        return left

    def close(self) -> None:
        """Removes our own folder; whoever still writes in it fails."""
        with self._guard:
            if self._folder is None:
                return
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.with_suffix(_LOCK_SUFFIX).unlink(missing_ok=True)
            os.close(self._lock)
            self._folder = None

    def _own_folder(self) -> Path:
        with self._guard:
            if self._folder is None:
                try:
                    self._folder, self._lock = self._claim()
                except OSError as error:
                    raise storage_error(error) from error
            return self._folder

    def _claim(self) -> tuple[Path, int]:
        self._root.mkdir(mode=0o750, exist_ok=True)
        while True:
            folder = self._root / secrets.token_hex(8)
            lock = folder.with_suffix(_LOCK_SUFFIX)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # A sweeper may have taken it for a dead one between the two lines above.
            if lock.exists():
                folder.mkdir(mode=0o750)
                return folder, descriptor
            os.close(descriptor)

    def _dead(self) -> Iterator[tuple[Path, Path, int]]:
        for lock in sorted(self._root.glob(f"*{_LOCK_SUFFIX}")):
            try:
                descriptor = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                continue
            yield lock, lock.with_suffix(""), descriptor


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir()) if folder.is_dir() else 0
