"""Objects by name, in the words of obstore; its errors become ours here and nowhere else."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from entrepot_core.domain.blob import CHUNK_BYTES
from entrepot_core.domain.errors import StorageFailedError, StorageFullError
from entrepot_rpc.bucket_error import is_absent, words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from entrepot_rpc.bucket_url import BucketUrl

__all__ = ["Bucket"]

# Up to here an object is put in one request, which can refuse to replace another.
SINGLE_BYTES = 8 * 1024**2
# A part of a larger one, and how many are on their way at once.
PART_BYTES = 5 * 1024**2
PARTS_AT_ONCE = 2
_MOST_PARTS = 9_000
# S3 copies no more in one request.
COPY_BYTES = 5 * 1024**3
_DELETE = 1_000

_FULL = re.compile(
    r"\b(507|XMinioStorageFull|XMinioAdminBucketQuotaExceeded|QuotaExceeded"
    r"|InsufficientCapacity|InsufficientStorage\w*)\b"
)
_UNABLE = re.compile(r"\b501\b|NotImplemented")


class Bucket:
    """The objects below one prefix. For any number of threads.

    Args:
        url: Where they are.
        copy_bytes: Objects that are larger are copied through this process.
    """

    def __init__(self, url: BucketUrl, *, copy_bytes: int = COPY_BYTES) -> None:
        # Imported only here: who has a folder does not pay for it.
        import obstore  # noqa: PLC0415
        from obstore import exceptions  # noqa: PLC0415

        self._obstore: Any = obstore
        self._errors = (exceptions.BaseError, OSError, NotImplementedError)
        self._exceptions: Any = exceptions
        try:
            self._store = obstore.store.from_url(url.url, **url.arguments())
        except (exceptions.BaseError, ValueError) as error:
            message = str(error).partition("\n")[0]
            raise ValueError(f"The store {url.url} cannot be used: {message}") from None
        self._url = url.url
        self._copy_bytes = copy_bytes
        self._can_create = True

    def put(self, key: str, source: bytes | Path, size: int) -> None:
        """Stores an object, unless one of that size is there. It is visible when it is whole."""
        try:
            if size <= SINGLE_BYTES and self._can_create and self._create(key, source):
                return
            if self._size(key) == size:
                return
            if size <= SINGLE_BYTES:
                self._obstore.put(self._store, key, source, use_multipart=False)
                return
            part = max(PART_BYTES, -(-size // _MOST_PARTS))
            self._obstore.put(
                self._store, key, source, chunk_size=part, max_concurrency=PARTS_AT_ONCE
            )
        except self._errors as error:
            raise self._error(error) from error

    def get(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes] | None:
        """The bytes in chunks of at most 1 MiB; None if there is no such object.

        With an end, which is not included, the stretch must lie in the object and have a byte.
        """
        options = None if end is None else {"range": (start, end)}
        try:
            result = self._obstore.get(self._store, key, options=options)
        except self._errors as error:
            if is_absent(error):
                return None
            raise self._error(error) from error
        return self._chunks(result.stream(min_chunk_size=CHUNK_BYTES))

    def size(self, key: str) -> int | None:
        """The length of an object in bytes; None if there is none."""
        try:
            return self._size(key)
        except self._errors as error:
            raise self._error(error) from error

    def copy(self, source: str, target: str) -> bool:
        """Copies an object over another; False if there is none."""
        try:
            size = self._size(source)
            if size is None:
                return False
            if size <= self._copy_bytes:
                self._obstore.copy(self._store, source, target)
            else:
                asyncio.run(self._copy_through(source, target, size))
        except self._errors as error:
            if is_absent(error):
                return False
            raise self._error(error) from error
        return True

    def delete(self, keys: Sequence[str]) -> None:
        """Removes objects; those that are not there are none."""
        for start in range(0, len(keys), _DELETE):
            try:
                self._obstore.delete(self._store, list(keys[start : start + _DELETE]))
            except self._errors as error:
                if not is_absent(error):
                    raise self._error(error) from error

    def list(self, prefix: str) -> Iterator[Any]:
        """What obstore says of the objects below a prefix, by name."""
        try:
            for page in self._obstore.list(self._store, prefix=prefix, chunk_size=1_000):
                yield from page
        except self._errors as error:
            raise self._error(error) from error

    def _create(self, key: str, source: bytes | Path) -> bool:
        """Say whether it was made; False if it is there, or the store cannot promise that."""
        try:
            self._obstore.put(self._store, key, source, mode="create")
        except (self._exceptions.AlreadyExistsError, self._exceptions.PreconditionError):
            return False
        except (self._exceptions.NotSupportedError, NotImplementedError):
            self._can_create = False
            return False
        except self._exceptions.GenericError as error:
            if not _UNABLE.search(words(error)):
                raise
            # What it replaces from now on has the same digest: nothing is lost but a request.
            self._can_create = False
            return False
        return True

    async def _copy_through(self, source: str, target: str, size: int) -> None:
        """Reads an object and writes it again, a part at a time."""
        found = await self._obstore.get_async(self._store, source)
        await self._obstore.put_async(
            self._store,
            target,
            found.stream(min_chunk_size=CHUNK_BYTES),
            chunk_size=max(PART_BYTES, -(-size // _MOST_PARTS)),
            max_concurrency=PARTS_AT_ONCE,
        )

    def _size(self, key: str) -> int | None:
        try:
            return int(self._obstore.head(self._store, key)["size"])
        except FileNotFoundError as error:
            if is_absent(error):
                return None
            raise

    def _chunks(self, stream: Iterator[Any]) -> Iterator[bytes]:
        waiting = bytearray()
        try:
            for piece in stream:
                waiting += piece
                while len(waiting) >= CHUNK_BYTES:
                    yield bytes(waiting[:CHUNK_BYTES])
                    del waiting[:CHUNK_BYTES]
        except self._errors as error:
            raise self._error(error) from error
        if waiting:
            yield bytes(waiting)

    def _error(self, error: BaseException) -> StorageFailedError | StorageFullError:
        said = words(error)
        if _FULL.search(said):
            return StorageFullError(
                f"The blob store {self._url} is full: {said}.", retry_after_seconds=60
            )
        return StorageFailedError(
            f"The blob store {self._url} fails: {said}.", retry_after_seconds=30
        )
