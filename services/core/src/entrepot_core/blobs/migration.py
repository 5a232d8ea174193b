"""Copies blobs from one store to another. Whatever ends it, doing it again does the rest."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from entrepot_core.domain.blob import Expected, Verifier
from entrepot_core.domain.errors import (
    BlobMissingError,
    DigestMismatchError,
    SizeMismatchError,
    StorageFailedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from entrepot_core.blobs.blob_store import BlobBatch, BlobStore
    from entrepot_core.domain.blob import Blob

__all__ = ["Migration", "Moved"]

# A batch becomes durable at once; it ends at whichever comes first.
BATCH_BLOBS = 256
BATCH_BYTES = 256 * 1024**2
# Blobs that are read at once.
AT_ONCE = 8
# So many that the previous store fails to read, and it is the store that fails.
MOST_FAILURES = 20
# Digests that are named, of those that could not be read.
MOST_NAMED = 100


@dataclass(slots=True)
class Moved:
    """What was copied, or with a dry run would be, and what could not be read."""

    blobs: int = 0
    size_bytes: int = 0
    unreadable: int = 0
    # The first of them.
    unreadable_digests: list[bytes] = field(default_factory=list)


class Migration:
    """One run. Bytes are verified on the way; what is in the new store already stays."""

    def __init__(
        self, new: BlobStore, previous: BlobStore, is_wanted: Callable[[Blob], bool]
    ) -> None:
        """`is_wanted` says of what could not be read whether it is still missed."""
        self._new = new
        self._previous = previous
        self._is_wanted = is_wanted
        self._guard = threading.Lock()
        self._failures = 0

    def plan(
        self,
        blobs: Iterable[Blob],
        look: Callable[[int], None],
        note: Callable[[Blob], None] = lambda _: None,
    ) -> Moved:
        """Counts what `run` would copy, by what the rows say; `note` is told of each."""
        moved = Moved()
        for blob in self._missing(blobs, look):
            moved.blobs += 1
            moved.size_bytes += blob.size_bytes
            note(blob)
        return moved

    def run(self, blobs: Iterable[Blob], look: Callable[[int], None]) -> Moved:
        """Copies blobs, which must come in order of digest.

        `look` is told between batches how many blobs have been looked at, and may raise.
        StorageFullError or StorageFailedError if a store fails; what was copied stays.
        """
        moved = Moved()
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="migration") as pool:
            for group in _groups(self._missing(blobs, look)):
                with self._new.begin() as batch:
                    is_copied = list(pool.map(lambda one: self._copy(batch, one), group))
                    batch.settle()
                for blob, is_good in zip(group, is_copied, strict=True):
                    if is_good:
                        moved.blobs += 1
                        moved.size_bytes += blob.size_bytes
                    elif self._is_wanted(blob):
                        moved.unreadable += 1
                        if moved.unreadable <= MOST_NAMED:
                            moved.unreadable_digests.append(blob.digest)
        return moved

    def _missing(self, blobs: Iterable[Blob], look: Callable[[int], None]) -> Iterator[Blob]:
        """Those that the new store does not have, or has in part: one walk through both."""
        files = self._new.files()
        file = next(files, None)
        for number, blob in enumerate(blobs, start=1):
            while file is not None and file.digest < blob.digest:
                file = next(files, None)
            is_there = file is not None and (file.digest, file.size_bytes) == (
                blob.digest,
                blob.size_bytes,
            )
            if not is_there:
                yield blob
            if number % BATCH_BLOBS == 0:
                look(number)

    def _copy(self, batch: BlobBatch, blob: Blob) -> bool:
        """Say whether it could be read, and was what it should be."""
        writer = batch.create(Verifier(Expected((("sha256", blob.digest),), blob.size_bytes)))
        try:
            for chunk in self._read(blob):
                writer.write(chunk)
            writer.close()
        except (_UnreadableError, DigestMismatchError, SizeMismatchError):
            writer.abort()
            return False
        return True

    def _read(self, blob: Blob) -> Iterator[bytes]:
        try:
            yield from self._previous.read(blob.digest)
        except BlobMissingError as error:
            raise _UnreadableError from error
        except StorageFailedError as error:
            with self._guard:
                self._failures += 1
                is_store = self._failures >= MOST_FAILURES
            if is_store:
                raise
            raise _UnreadableError from error


class _UnreadableError(Exception):
    """The previous store does not give a blob."""


def _groups(blobs: Iterator[Blob]) -> Iterator[list[Blob]]:
    group: list[Blob] = []
    size = 0
    for blob in blobs:
        group.append(blob)
        size += blob.size_bytes
        if len(group) >= BATCH_BLOBS or size >= BATCH_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
