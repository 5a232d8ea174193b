"""A store that takes over from another: new bytes go to it, old ones are read where they are."""

from __future__ import annotations

from contextlib import suppress
from heapq import merge
from typing import TYPE_CHECKING

from entrepot_core.domain.errors import BlobMissingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from entrepot_core.blobs.blob_store import BlobBatch, BlobStore, StoredFile

__all__ = ["Succession"]


class Succession:
    """Two stores that look like one, while blobs move from the previous one to the new one."""

    def __init__(self, new: BlobStore, previous: BlobStore) -> None:
        self.new = new
        self.previous = previous

    def begin(self) -> BlobBatch:
        return self.new.begin()

    def read(self, digest: bytes, offset: int = 0, limit: int | None = None) -> Iterator[bytes]:
        with suppress(BlobMissingError):
            return self.new.read(digest, offset, limit)
        return self.previous.read(digest, offset, limit)

    def size(self, digest: bytes) -> int | None:
        size = self.new.size(digest)
        return self.previous.size(digest) if size is None else size

    def set_aside(self, digests: Iterable[bytes]) -> None:
        chosen = list(digests)
        self.new.set_aside(chosen)
        self.previous.set_aside(chosen)

    def restore(self, digests: Iterable[bytes]) -> None:
        chosen = list(digests)
        self.new.restore(chosen)
        self.previous.restore(chosen)

    def discard(self, digests: Iterable[bytes]) -> None:
        chosen = list(digests)
        self.new.discard(chosen)
        self.previous.discard(chosen)

    def files(self) -> Iterator[StoredFile]:
        return _once(self.new.files(), self.previous.files())

    def set_aside_files(self) -> Iterator[StoredFile]:
        return _once(self.new.set_aside_files(), self.previous.set_aside_files())

    def sweep_temporary(self) -> int:
        return self.new.sweep_temporary() + self.previous.sweep_temporary()

    def temporary_files(self) -> int:
        return self.new.temporary_files() + self.previous.temporary_files()

    def require_room(self, needed_bytes: int) -> None:
        self.new.require_room(needed_bytes)

    def free_bytes(self) -> int:
        return self.new.free_bytes()

    def probe(self) -> None:
        self.new.probe()
        self.previous.probe()

    def close(self) -> None:
        self.new.close()
        self.previous.close()


def _once(new: Iterator[StoredFile], previous: Iterator[StoredFile]) -> Iterator[StoredFile]:
    """Both, in order of digest; what is in both is that of the new one."""
    last = b""
    for file in merge(new, previous, key=lambda file: file.digest):
        if file.digest != last:
            yield file
        last = file.digest
