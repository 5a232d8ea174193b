"""One try: ask a source, follow where it redirects, and let the sink have what it sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

from entrepot_core.domain.blob import Verifier
from entrepot_core.domain.errors import DigestMismatchError, SizeMismatchError
from entrepot_core.downloads import failure
from entrepot_core.downloads.failure import Failure
from entrepot_core.downloads.request import Fetched
from entrepot_core.downloads.url import UnusableUrlError, follow, parse_url, printable

if TYPE_CHECKING:
    from yarl import URL

    from entrepot_core.downloads.request import Download, Sink, Source

__all__ = ["exchange"]

MAX_REDIRECTS = 5

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OK, _NOT_MODIFIED = 200, 304
_CONNECT_SECONDS = 30.0
_LONGEST_VALIDATOR = 1_000


async def exchange(
    session: aiohttp.ClientSession, download: Download, source: Source, sink: Sink
) -> Fetched:
    """What the source has, verified; raises Failure, or what the sink raises of its own."""
    try:
        url = parse_url(source.url)
    except UnusableUrlError as error:
        raise failure.unusable(source.url, download.unit, str(error)) from error
    try:
        for _ in range(MAX_REDIRECTS + 1):
            async with _get(session, url, source) as response:
                if response.status not in _REDIRECTS:
                    return await _take(response, url, download, source, sink)
                url = _next(response, url, download, source)
    except (aiohttp.ClientError, TimeoutError) as error:
        sink.abort()
        raise failure.of_exception(source.url, download.unit, error) from error
    why = f"there were more than {MAX_REDIRECTS} redirects"
    raise failure.unusable(source.url, download.unit, why, str(url))


def _get(
    session: aiohttp.ClientSession, url: URL, source: Source
) -> aiohttp.client._RequestContextManager:
    stall = source.remote.stall_timeout_seconds
    headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
    if source.etag:
        headers["If-None-Match"] = source.etag
    if source.last_modified:
        headers["If-Modified-Since"] = source.last_modified
    return session.get(
        url,
        headers=headers,
        allow_redirects=False,
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=min(stall, _CONNECT_SECONDS), sock_read=stall
        ),
    )


def _next(response: aiohttp.ClientResponse, url: URL, download: Download, source: Source) -> URL:
    location = response.headers.get("Location", "")
    try:
        return follow(url, location)
    except UnusableUrlError as error:
        raise failure.unusable(source.url, download.unit, str(error), location) from error


async def _take(
    response: aiohttp.ClientResponse, url: URL, download: Download, source: Source, sink: Sink
) -> Fetched:
    if response.status == _NOT_MODIFIED and (source.etag or source.last_modified):
        return Fetched(source, None, str(url), source.etag, source.last_modified)
    if response.status != _OK:
        wait = failure.retry_after(response.headers.get("Retry-After"))
        raise failure.of_status(source.url, download.unit, response.status, response.reason, wait)
    verifier = Verifier(
        download.expected,
        max_bytes=download.max_bytes,
        url=printable(source.url),
        unit=printable(download.unit),
    )
    length = response.content_length
    try:
        if length is not None:
            verifier.announce(length)
        sink.begin(verifier)
        async for chunk in response.content.iter_any():
            await sink.write(chunk)
        blob = sink.finish()
    except (SizeMismatchError, DigestMismatchError) as error:
        sink.abort()
        exact = download.expected.size_bytes
        # Without a length in the answer, its end and a broken connection look the same.
        is_short = length is None and exact is not None and verifier.size_bytes < exact
        raise Failure(error, is_passing=is_short) from error
    return Fetched(
        source, blob, str(url), _validator(response, "ETag"), _validator(response, "Last-Modified")
    )


def _validator(response: aiohttp.ClientResponse, name: str) -> str:
    value = response.headers.get(name, "")
    usable = value.isascii() and value.isprintable() and len(value) <= _LONGEST_VALIDATOR
    return value if usable else ""
