"""The bytes of one file from one source, over as many tries as it takes."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager, nullcontext
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from entrepot_core.domain.blob import Verifier
from entrepot_core.downloads.gathering import Gathering
from entrepot_core.downloads.url import printable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    import aiohttp

    from entrepot_core.domain.blob import Blob
    from entrepot_core.downloads.request import Download, Sink, Source

__all__ = [
    "LEAST_BYTES",
    "BrokenOffError",
    "OtherRangeError",
    "StalledError",
    "Transfer",
    "validator",
]

# So much in a stall timeout, or it has stalled: a byte now and then is no progress.
LEAST_BYTES = 1024

_PARTIAL, _UNSATISFIABLE = 206, 416
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_LONGEST_VALIDATOR = 1_000
_NO_CLOCK = nullcontext()


class BrokenOffError(Exception):
    """The answer ended, and the file had not."""


class OtherRangeError(Exception):
    """A part of a file that was not the part asked for; its text says which."""


class StalledError(Exception):
    """Bytes come, but so slowly that it makes no difference."""


class Transfer:
    """What has come of a file, and whether the next try may go on from there.

    A broken transfer is gone on with if the source has named the version of the file that it sent:
    by a strong ETag, or by a date that cannot be that of two versions (RFC 9110 13.1.5).
    """

    def __init__(self, download: Download, source: Source, sink: Sink) -> None:
        self.download = download
        self.source = source
        self._sink = sink
        self._verifier: Verifier | None = None
        # What If-Range says; empty if the next try must begin at the beginning.
        self._version = ""
        self._parts = 0
        self._end: int | None = None
        self._takes_ranges = True
        self._seconds_left = source.remote.total_timeout_seconds or None

    @property
    def offset(self) -> int:
        """How many bytes the next try may skip."""
        return self._verifier.size_bytes if self._verifier and self._version else 0

    @property
    def received_bytes(self) -> int:
        """How many bytes have come since the last beginning."""
        return self._verifier.size_bytes if self._verifier else 0

    @property
    def is_pieced(self) -> bool:
        """Whether what has come is from more than one answer."""
        return self._parts > 1

    @property
    def headers(self) -> dict[str, str]:
        """What a request says about what is known already."""
        if self.offset:
            return {"Range": f"bytes={self.offset}-", "If-Range": self._version}
        headers = {}
        if self.source.etag:
            headers["If-None-Match"] = self.source.etag
        if self.source.last_modified:
            headers["If-Modified-Since"] = self.source.last_modified
        return headers

    def clock(self) -> AbstractAsyncContextManager[None]:
        """Counts towards the total timeout, if there is one; TimeoutError when it is over."""
        return _NO_CLOCK if self._seconds_left is None else self._clock()

    @asynccontextmanager
    async def _clock(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(self._seconds_left):
                yield
        finally:
            left = self._seconds_left or 0.0
            self._seconds_left = max(0.0, left - (loop.time() - began))

    @property
    def is_out_of_time(self) -> bool:
        """Whether the total timeout is over."""
        return self._seconds_left == 0

    async def take(self, response: aiohttp.ClientResponse) -> Blob:
        """All that an answer has, verified.

        SizeMismatchError and DigestMismatchError as a verifier raises them; BrokenOffError,
        OtherRangeError, StalledError, and what reading raises. What has come before a failure is
        kept if it can be gone on with.
        """
        self._begin(response)
        gathering = Gathering(self._sink)
        try:
            await self._read(response, gathering)
        except asyncio.CancelledError:
            gathering.forget()
            raise
        except Exception:
            # What has come may be gone on with.
            await gathering.flush()
            raise
        await gathering.flush()
        if self._end is not None and self.received_bytes < self._end:
            raise BrokenOffError
        return self._sink.finish()

    async def _read(self, response: aiohttp.ClientResponse, gathering: Gathering) -> None:
        stall = self.source.remote.stall_timeout_seconds
        loop = asyncio.get_running_loop()
        waited, came, began = 0.0, 0, loop.time()
        # The client library has a timer of its own, which it forgets when it meets garbage.
        async with asyncio.timeout(stall) as silence:
            async for chunk in response.content.iter_any():
                silence.reschedule(None)
                waited, came = waited + loop.time() - began, came + len(chunk)
                if waited >= stall:
                    if came < LEAST_BYTES:
                        raise StalledError
                    waited, came = 0.0, 0
                await gathering.take(chunk)
                # A slow sink is not the source's fault.
                began = loop.time()
                silence.reschedule(began + stall)

    def forget(self, *, takes_ranges: bool = True) -> None:
        """Begins at the beginning next time, and from then on if it takes no ranges."""
        self._version = ""
        self._takes_ranges = self._takes_ranges and takes_ranges

    def _begin(self, response: aiohttp.ClientResponse) -> None:
        length = response.content_length
        if response.status == _UNSATISFIABLE:
            raise OtherRangeError(f"no bytes {self.offset}-")
        if response.status == _PARTIAL:
            self._go_on(response)
            return
        self._verifier = Verifier(
            self.download.expected,
            max_bytes=self.download.max_bytes,
            url=printable(self.source.url),
            unit=printable(self.download.unit),
        )
        self._parts = 1
        self._end = length
        self._version = _version(response) if self._takes_ranges else ""
        if length is not None:
            self._verifier.announce(length)
        self._sink.begin(self._verifier)

    def _go_on(self, response: aiohttp.ClientResponse) -> None:
        assert self._verifier is not None  # noqa: S101  a range was asked for
        given = response.headers.get("Content-Range", "")
        match = _CONTENT_RANGE.fullmatch(given)
        if match is None or int(match[1]) != self.offset:
            raise OtherRangeError(f'"{printable(given, 100)}" instead of bytes {self.offset}-')
        if match[3] != "*" and self._end not in (None, int(match[3])):
            raise OtherRangeError(f"bytes of {match[3]}, and of {self._end} before")
        tag = response.headers.get("ETag", "")
        if tag and self._version.startswith('"') and tag != self._version:
            raise OtherRangeError("bytes of another version of the file")
        self._parts += 1
        if match[3] != "*":
            self._end = int(match[3])
            self._verifier.announce(self._end)


def validator(response: aiohttp.ClientResponse, name: str) -> str:
    """A header with which can be asked conditionally; empty if it is none that can be repeated."""
    value = response.headers.get(name, "")
    usable = value.isascii() and value.isprintable() and len(value) <= _LONGEST_VALIDATOR
    return value if usable else ""


def _version(response: aiohttp.ClientResponse) -> str:
    """What names the version of the file for certain (RFC 9110 8.8.1 and 8.8.2.2), if anything."""
    headers = response.headers
    if headers.get("Content-Encoding", "identity") != "identity":
        return ""
    if headers.get("Accept-Ranges", "bytes") != "bytes":
        return ""
    tag = validator(response, "ETag")
    if tag:
        return tag if tag.startswith('"') and tag.endswith('"') and len(tag) > 1 else ""
    modified = validator(response, "Last-Modified")
    try:
        age = parsedate_to_datetime(headers["Date"]) - parsedate_to_datetime(modified)
    except (KeyError, ValueError, TypeError):
        return ""
    return modified if age.total_seconds() >= 1 else ""
