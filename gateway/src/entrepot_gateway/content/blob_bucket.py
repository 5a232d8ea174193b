"""Blobs that are objects: `sha256/ab/cd/<64 hex digits>` below a prefix of a bucket.

Clients get their bytes through this process, or are sent to a link that the store gives them for.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from entrepot_gateway.content.answer import BrokenConnectionError
from entrepot_rpc.bucket_error import is_absent, words
from entrepot_rpc.errors import Code, ServiceError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Send

    from entrepot_gateway.content.ranges import Range
    from entrepot_rpc.bucket_url import BucketUrl

log = structlog.get_logger()

CHUNK_BYTES = 512 * 1024
# A client waits.
MOST_RETRIES = 2

_SHA256 = re.compile(r"[0-9a-f]{64}")


class OpenObject:
    """An object that is there; the bytes that are wanted first may be on their way already."""

    path = ""
    internal_path = ""
    seal = None

    def __init__(
        self,
        bucket: BlobBucket,
        key: str,
        size: int,
        location: str = "",
        wanted: Range | None = None,
        chunks: AsyncIterator[Any] | None = None,
    ) -> None:
        self.size = size
        self.location = location
        self._bucket = bucket
        self._key = key
        self._wanted = wanted
        self._chunks = chunks

    async def send(self, send: Send, first: int, last: int) -> None:
        """Send a part of it."""
        if first > last:
            return
        chunks = self._chunks if self._wanted == (first, last) else None
        self._chunks = None
        left = last - first + 1
        while left > 0:
            try:
                if chunks is None:
                    _, chunks = await self._bucket.get(self._key, (first, last))
                chunk = await anext(chunks, None)
            except self._bucket.errors as error:
                self._bucket.say(error)
                raise BrokenConnectionError("the object store fails") from None
            if chunk is None:
                raise BrokenConnectionError("the object is shorter than it was")
            left -= len(chunk)
            body = bytes(chunk)
            await send({"type": "http.response.body", "body": body, "more_body": True})

    def close(self) -> None:
        """Let go of what was not sent."""
        self._chunks = None


class BlobBucket:
    """Finds the object of a blob. Its name is made of the digest alone."""

    def __init__(self, url: BucketUrl) -> None:
        # Imported only here: who has a folder does not pay for it.
        import obstore  # noqa: PLC0415
        from obstore import exceptions  # noqa: PLC0415

        self._obstore: Any = obstore
        self.errors = (exceptions.BaseError, OSError, NotImplementedError)
        patience = replace(url, retries=min(url.retries, MOST_RETRIES))
        try:
            self._store = obstore.store.from_url(url.url, **patience.arguments())
        except (exceptions.BaseError, ValueError) as error:
            message = str(error).partition("\n")[0]
            raise ValueError(f"The store {url.url} cannot be used: {message}") from None
        self._url = url.url
        self._redirect_seconds = url.redirect_seconds if url.redirect else 0

    async def open(self, sha256: str, wanted: Range | None) -> OpenObject | None:
        """The blob's object, with the answer to what is wanted, or a link to it."""
        if not _SHA256.fullmatch(sha256):
            message = "not a SHA-256"
            raise ValueError(message)
        key = f"sha256/{sha256[:2]}/{sha256[2:4]}/{sha256}"
        is_read_here = wanted is not None and not self._redirect_seconds
        try:
            if is_read_here and wanted is not None and wanted[0] <= wanted[1]:
                size, chunks = await self.get(key, wanted)
                return OpenObject(self, key, size, wanted=wanted, chunks=chunks)
            size = (await self._obstore.head_async(self._store, key))["size"]
            if wanted is None or is_read_here:
                return OpenObject(self, key, size)
            life = timedelta(seconds=self._redirect_seconds)
            location = await self._obstore.sign_async(self._store, "GET", key, life)
            return OpenObject(self, key, size, location)
        except self.errors as error:
            # What is shorter than it should be is as good as nothing.
            if is_absent(error) or "416 Range Not Satisfiable" in str(error):
                return None
            self.say(error)
            raise ServiceError.of(
                Code.UNAVAILABLE,
                "STORAGE_FAILED",
                "The store for blobs fails.",
                retry_after_seconds=10,
            ) from None

    async def get(self, key: str, wanted: Range) -> tuple[int, AsyncIterator[Any]]:
        """The size of an object, and some of its bytes as they come."""
        options = {"range": (wanted[0], wanted[1] + 1)}
        result = await self._obstore.get_async(self._store, key, options=options)
        return result.meta["size"], result.stream(min_chunk_size=CHUNK_BYTES)

    def say(self, error: BaseException) -> None:
        """Tell the operator what the store said. Signed addresses are keys, and left out."""
        log.error("content.store_failed", store=self._url, error=words(error))
