"""Blobs as files in a folder: sha256/ab/cd/<64 hexadecimal digits>, which others may read too."""

from __future__ import annotations

import io
import os
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from entrepot_core.blobs.blob_store import StoredFile
from entrepot_core.blobs.directory_batch import DirectoryBatch
from entrepot_core.blobs.disk import Disk
from entrepot_core.blobs.durability import storage_error, storage_errors
from entrepot_core.blobs.scratch import Scratch
from entrepot_core.domain.blob import CHUNK_BYTES
from entrepot_core.domain.errors import BlobMissingError
from entrepot_rpc.failpoints import failpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from entrepot_core.blobs.blob_store import BlobBatch

__all__ = ["DirectoryBlobStore"]

_FOLDER_MODE = 0o750


class DirectoryBlobStore:
    """A store in one folder of one filesystem; any number of processes may share it.

    Args:
        root: The folder; it is made if it is not there.
        reserve_bytes: How much of the disk stays free; by default 5 %, at most 2 GiB.
    """

    def __init__(self, root: Path, *, reserve_bytes: int | None = None) -> None:
        self.root = root
        self._blobs = root / "sha256"
        self._aside = root / "aside"
        self.disk = Disk(root, reserve_bytes)
        # At most 65,536.
        self._folders: set[str] = set()
        with storage_errors():
            for folder in (root, self._blobs, self._aside):
                folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        self._scratch = Scratch(root / "tmp")

    def begin(self) -> BlobBatch:
        return DirectoryBatch(self, self._scratch)

    def path(self, digest: bytes) -> Path:
        """Where a blob is, or would be."""
        return Path(self.location(digest))

    def location(self, digest: bytes) -> str:
        """The same as text, for many."""
        name = digest.hex()
        return f"{self._blobs}/{name[:2]}/{name[2:4]}/{name}"

    def make_folder(self, location: str) -> None:
        """Makes the folder of a blob's location, unless this process knows it is there."""
        folder = os.path.dirname(location)  # noqa: PTH120  thousands of them
        if folder not in self._folders:
            os.makedirs(folder, mode=_FOLDER_MODE, exist_ok=True)  # noqa: PTH103  as above
            self._folders.add(folder)

    def read(self, digest: bytes, offset: int = 0, limit: int | None = None) -> Iterator[bytes]:
        return _chunks(self._open(digest), offset, limit)

    def size(self, digest: bytes) -> int | None:
        try:
            status = os.lstat(self.location(digest))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_error(error) from error
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def set_aside(self, digests: Iterable[bytes]) -> None:
        with storage_errors():
            for digest in digests:
                with suppress(FileNotFoundError):
                    self.path(digest).rename(self._aside / digest.hex())
            failpoint("collect.set_aside")

    def restore(self, digests: Iterable[bytes]) -> None:
        with storage_errors():
            for digest in digests:
                target = self.path(digest)
                target.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
                with suppress(FileNotFoundError):
                    if target.exists():
                        (self._aside / digest.hex()).unlink()
                    else:
                        (self._aside / digest.hex()).rename(target)

    def discard(self, digests: Iterable[bytes]) -> None:
        with storage_errors():
            for digest in digests:
                (self._aside / digest.hex()).unlink(missing_ok=True)
            failpoint("collect.discarded")

    def files(self) -> Iterator[StoredFile]:
        now = self._now()
        for first in _entries(self._blobs):
            for second in _entries(first):
                yield from _stored(second, now)

    def set_aside_files(self) -> Iterator[StoredFile]:
        return _stored(self._aside, self._now())

    def sweep_temporary(self) -> int:
        return self._scratch.sweep()

    def temporary_files(self) -> int:
        return self._scratch.residue()

    def require_room(self, needed_bytes: int) -> None:
        self.disk.require_room(needed_bytes)

    def free_bytes(self) -> int:
        return self.disk.free_bytes()

    def probe(self) -> None:
        with storage_errors():
            with tempfile.TemporaryFile(dir=self.root) as file:
                file.write(b"?")
                file.flush()
            for folder in (self._blobs, self._aside):
                os.scandir(folder).close()

    def close(self) -> None:
        self._scratch.close()

    def _now(self) -> float:
        """The time by the clock that dates files here, which may be that of another host.

        By our own if nothing can be written: a full or read-only folder is still looked at.
        """
        try:
            with tempfile.TemporaryFile(dir=self.root) as file:
                file.write(b"?")
                file.flush()
                return os.fstat(file.fileno()).st_mtime
        except OSError:
            return time.time()

    def _open(self, digest: bytes) -> io.FileIO:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            descriptor = os.open(self.location(digest), flags)
        except OSError as error:
            # ELOOP: a link, which is never ours.
            if isinstance(error, FileNotFoundError) or self.path(digest).is_symlink():
                raise _missing(digest) from error
            raise storage_error(error) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise _missing(digest)
        return io.FileIO(descriptor, "rb")


def _chunks(file: io.FileIO, offset: int, limit: int | None) -> Iterator[bytes]:
    with file:
        left = limit
        try:
            # So far beyond the end that it would not be an offset any more is beyond the end, too.
            offset = min(offset, os.fstat(file.fileno()).st_size)
            while left is None or left > 0:
                wanted = CHUNK_BYTES if left is None else min(left, CHUNK_BYTES)
                chunk = os.pread(file.fileno(), wanted, offset)
                if not chunk:
                    return
                offset += len(chunk)
                left = None if left is None else left - len(chunk)
                yield chunk
        except OSError as error:
            raise storage_error(error) from error


def _missing(digest: bytes) -> BlobMissingError:
    return BlobMissingError(
        f"The blob sha256:{digest.hex()} is not stored.", metadata={"digest": digest.hex()}
    )


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []


def _stored(folder: Path, now: float) -> Iterator[StoredFile]:
    for path in _entries(folder):
        try:
            digest = bytes.fromhex(path.name)
            status = path.lstat()
        except (ValueError, FileNotFoundError):
            continue
        if stat.S_ISREG(status.st_mode):
            yield StoredFile(digest, status.st_size, now - status.st_mtime)
