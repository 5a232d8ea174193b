"""The interface of every store for bytes. It knows no rows: who names a blob is unknown here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType
    from typing import Self

    from entrepot_core.domain.blob import Blob, Verifier

__all__ = ["BlobBatch", "BlobStore", "BlobWriter", "StoredFile"]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What lies in a store under a digest: its length and the seconds since it was written."""

    digest: bytes
    size_bytes: int
    age_seconds: float


class BlobWriter(Protocol):
    """One blob on its way in. Close it or abort it; a batch that ends aborts what is open."""

    def write(self, chunk: bytes) -> None:
        """Appends; StorageFullError, StorageFailedError, or SizeMismatchError if too much."""

    def close(self) -> Blob:
        """Verifies, and hands the bytes to the batch. They are neither durable nor visible yet.

        SizeMismatchError or DigestMismatchError if they are wrong; then they are gone.
        """

    def abort(self) -> None:
        """Throws the bytes away; nothing if the writer was closed."""


class BlobBatch(Protocol):
    """Blobs that become durable together. Writers of one batch may work in several threads.

    First the writers, then `settle`, then the rows in a transaction that calls `ensure` before it
    commits, then the end of the `with` block. Verified bytes survive a failure after `settle`;
    without rows they are an orphan that is swept.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def create(self, verifier: Verifier | None = None) -> BlobWriter:
        """A writer of a new blob, which is verified by what the verifier expects.

        StorageFullError if there is not enough room for it.
        """

    def settle(self) -> list[Blob]:
        """Makes all closed blobs durable and visible, and returns those since the last call.

        Those of the last call must have their rows by now: they are not ensured any more.

        StorageFailedError if the disk refuses; then all of them are gone.
        """

    def ensure(self) -> None:
        """Brings back what a collector took away since `settle`.

        To be called while the rows are locked by the transaction that makes them.
        """


class BlobStore(Protocol):
    """Bytes by their SHA-256. What is there is whole, and never changes."""

    def begin(self) -> BlobBatch:
        """A new batch, to be used in a `with` block."""

    def read(self, digest: bytes, offset: int = 0, limit: int | None = None) -> Iterator[bytes]:
        """The bytes in chunks of at most 1 MiB. BlobMissingError at once if it is not there."""

    def size(self, digest: bytes) -> int | None:
        """The length of a blob; None if it is not there."""

    def set_aside(self, digests: Iterable[bytes]) -> None:
        """Takes blobs out of sight, so that they can still be brought back."""

    def restore(self, digests: Iterable[bytes]) -> None:
        """Brings back what was set aside, if it is still there."""

    def discard(self, digests: Iterable[bytes]) -> None:
        """Removes what was set aside."""

    def files(self) -> Iterator[StoredFile]:
        """Everything there is, in order of digest."""

    def set_aside_files(self) -> Iterator[StoredFile]:
        """What was set aside and neither restored nor discarded: somebody died in between."""

    def sweep_temporary(self) -> int:
        """Removes what processes left that died while they wrote; returns how many files."""

    def temporary_files(self) -> int:
        """How many files such processes left."""

    def require_room(self, needed_bytes: int) -> None:
        """StorageFullError if the bytes would not leave the reserve free."""

    def free_bytes(self) -> int:
        """How much more fits, the reserve not counted; a large number if nobody knows."""

    def probe(self) -> None:
        """Does next to nothing, but for real; StorageFailedError if the store does not work."""

    def close(self) -> None:
        """Gives back what the process holds."""
