"""Blobs as objects in S3, Google Cloud Storage or Azure, named like the files of a folder.

Bytes come to a temporary file first and are put under their name when they are verified, so that
nothing else is ever in the bucket, whoever dies. A server that has no room for them, or does not
answer, is an error of the store.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from entrepot_core.blobs.blob_store import StoredFile
from entrepot_core.blobs.disk import Disk
from entrepot_core.blobs.durability import storage_error
from entrepot_core.blobs.object_batch import ObjectBatch
from entrepot_core.blobs.scratch import Scratch
from entrepot_core.domain.errors import BlobMissingError, StorageFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from entrepot_core.blobs.blob_store import BlobBatch
    from entrepot_core.blobs.bucket import Bucket
    from entrepot_core.blobs.scratch_writer import ScratchWriter

__all__ = ["ObjectBlobStore"]

T = TypeVar("T")
R = TypeVar("R")

# Requests at once; they mostly wait.
AT_ONCE = 32
# Those that hold more bytes than this in memory are fewer.
LARGE_BYTES = 1024**2
LARGE_AT_ONCE = 4


class ObjectBlobStore:
    """A store in one bucket, below one prefix; any number of processes may share it.

    Args:
        bucket: The objects.
        scratch: A folder of this machine for bytes on their way; it is made if it is not there.
        reserve_bytes: How much of its disk stays free; by default 5 %, at most 2 GiB.
    """

    def __init__(self, bucket: Bucket, scratch: Path, *, reserve_bytes: int | None = None) -> None:
        try:
            scratch.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error) from error
        self.bucket = bucket
        self.disk = Disk(scratch, reserve_bytes, f"the folder {scratch}")
        self._scratch = Scratch(scratch)
        self._large = threading.BoundedSemaphore(LARGE_AT_ONCE)
        # Threads are started when they are needed.
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="objects")

    def begin(self) -> BlobBatch:
        return ObjectBatch(self, self._scratch)

    def put_all(self, writers: Iterable[ScratchWriter]) -> None:
        """Stores verified bytes, many at once; StorageFullError or StorageFailedError."""

        def put(writer: ScratchWriter) -> None:
            blob = writer.blob
            if blob.size_bytes <= LARGE_BYTES:
                self.bucket.put(key(blob.digest), writer.source(), blob.size_bytes)
                return
            with self._large:
                self.bucket.put(key(blob.digest), writer.source(), blob.size_bytes)

        self._each(put, writers)

    def read(self, digest: bytes, offset: int = 0, limit: int | None = None) -> Iterator[bytes]:
        chunks: Iterator[bytes] | None
        if offset == 0 and limit is None:
            chunks = self.bucket.get(key(digest))
        else:
            size = self.size(digest)
            if size is None:
                raise _missing(digest)
            end = size if limit is None else min(size, offset + limit)
            chunks = self.bucket.get(key(digest), offset, end) if offset < end else iter(())
        if chunks is None:
            raise _missing(digest)
        return chunks

    def size(self, digest: bytes) -> int | None:
        return self.bucket.size(key(digest))

    def sizes(self, digests: Iterable[bytes]) -> list[int | None]:
        """The sizes of many."""
        return self._each(self.size, digests)

    def set_aside(self, digests: Iterable[bytes]) -> None:
        def move(digest: bytes) -> None:
            if self.bucket.copy(key(digest), _aside(digest)):
                self.bucket.delete([key(digest)])

        self._each(move, digests)

    def restore(self, digests: Iterable[bytes]) -> None:
        def move(digest: bytes) -> None:
            if self.size(digest) is not None or self.bucket.copy(_aside(digest), key(digest)):
                self.bucket.delete([_aside(digest)])

        self._each(move, digests)

    def discard(self, digests: Iterable[bytes]) -> None:
        self.bucket.delete([_aside(digest) for digest in digests])

    def files(self) -> Iterator[StoredFile]:
        last = b""
        for file in self._stored("sha256"):
            if file.digest < last:
                raise StorageFailedError(
                    "The blob store does not list its objects by name, as S3 does in all but "
                    "directory buckets; use another bucket."
                )
            last = file.digest
            yield file

    def set_aside_files(self) -> Iterator[StoredFile]:
        return self._stored("aside")

    def sweep_temporary(self) -> int:
        return self._scratch.sweep()

    def temporary_files(self) -> int:
        return self._scratch.residue()

    def require_room(self, needed_bytes: int) -> None:
        # The bucket has no end; what is on its way is on our disk.
        self.disk.require_room(needed_bytes)

    def free_bytes(self) -> int:
        # As above.
        return self.disk.free_bytes()

    def probe(self) -> None:
        # A list, as what is wrong with the bucket has words there, which a HEAD has not.
        next(iter(self.bucket.list("sha256")), None)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._scratch.close()

    def _each(self, do: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Does something with each, many at once; the first error, when all have ended."""
        futures = [self._pool.submit(do, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            for future in futures:
                if not future.cancelled():
                    future.exception()
            raise

    def _stored(self, prefix: str) -> Iterator[StoredFile]:
        now = time.time()
        for item in self.bucket.list(prefix):
            try:
                digest = bytes.fromhex(item["path"].rpartition("/")[2])
            except ValueError:
                continue
            if item["path"] in (key(digest), _aside(digest)):
                age = now - item["last_modified"].timestamp()
                yield StoredFile(digest, item["size"], age)


def key(digest: bytes) -> str:
    """The name of a blob's object, below the prefix."""
    name = digest.hex()
    return f"sha256/{name[:2]}/{name[2:4]}/{name}"


def _aside(digest: bytes) -> str:
    return f"aside/{digest.hex()}"


def _missing(digest: bytes) -> BlobMissingError:
    return BlobMissingError(
        f"The blob sha256:{digest.hex()} is not stored.", metadata={"digest": digest.hex()}
    )
