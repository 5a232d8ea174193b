"""One try: ask a source, follow where it redirects, and let the sink have what it sends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp

from entrepot_core.domain.errors import DigestMismatchError, SizeMismatchError
from entrepot_core.downloads import failure
from entrepot_core.downloads.address import ForbiddenAddress
from entrepot_core.downloads.failure import Failure
from entrepot_core.downloads.request import Fetched
from entrepot_core.downloads.route import is_own
from entrepot_core.downloads.tls import UnusablePemError
from entrepot_core.downloads.transfer import (
    BrokenOffError,
    OtherRangeError,
    StalledError,
    validator,
)
from entrepot_core.downloads.url import UnusableUrlError, follow, parse_url

if TYPE_CHECKING:
    from typing import Any

    from yarl import URL

    from entrepot_core.downloads.gate import Gates
    from entrepot_core.downloads.request import Download, Source
    from entrepot_core.downloads.route import Routes
    from entrepot_core.downloads.transfer import Transfer

__all__ = ["exchange"]

MAX_REDIRECTS = 5

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Unauthorized, Forbidden, Proxy Authentication Required
_REFUSALS = frozenset({401, 403, 407})
_OK, _PARTIAL, _NOT_MODIFIED, _UNSATISFIABLE = 200, 206, 304, 416
_CONNECT_SECONDS = 10.0
_BREAKS = (
    aiohttp.ClientError,
    TimeoutError,
    BrokenOffError,
    ForbiddenAddress,
    StalledError,
    UnusablePemError,
)


async def exchange(
    session: aiohttp.ClientSession, gates: Gates, routes: Routes, transfer: Transfer
) -> Fetched:
    """What the source has, verified; raises Failure, or what the sink raises of its own."""
    download, source = transfer.download, transfer.source
    remote = source.remote
    if remote.fault is not None:
        raise Failure(remote.fault)
    try:
        url = parse_url(source.url)
    except UnusableUrlError as error:
        raise failure.unusable(source.url, download.unit, str(error)) from error
    identify, answered = True, False
    try:
        for _ in range(MAX_REDIRECTS + 1):
            # Whoever else led us back to the remote's host does not act with its credentials.
            identify = identify and is_own(remote, url)
            async with gates.ask(remote, url.host or ""), transfer.clock():
                options = await routes.options(remote, url, identify=identify)
                async with await _answer(session, options, url, transfer) as response:
                    answered = True
                    if response.status in _REFUSALS:
                        raise failure.of_refusal(
                            source, download.unit, url, response, identified=identify
                        )
                    if response.status not in _REDIRECTS:
                        return await _take(response, url, transfer)
                    url = _next(response, url, download, source)
    except _BREAKS as error:
        if transfer.is_out_of_time:
            seconds = remote.total_timeout_seconds
            raise failure.out_of_time(source.url, download.unit, seconds) from error
        raise failure.of_exception(source, download.unit, error, url, answered=answered) from error
    why = f"there were more than {MAX_REDIRECTS} redirects"
    raise failure.unusable(source.url, download.unit, why, str(url))


async def _answer(
    session: aiohttp.ClientSession, options: dict[str, Any], url: URL, transfer: Transfer
) -> aiohttp.ClientResponse:
    stall = transfer.source.remote.stall_timeout_seconds
    connect = min(stall, _CONNECT_SECONDS)
    headers = {**options.pop("headers"), "Accept-Encoding": "identity", **transfer.headers}
    # Also for its head as a whole: bytes may come for ever, as in 100 Continue.
    async with asyncio.timeout(connect + stall):
        return await session.get(
            url,
            headers=headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=stall),
            **options,
        )


def _next(response: aiohttp.ClientResponse, url: URL, download: Download, source: Source) -> URL:
    location = response.headers.get("Location", "")
    try:
        return follow(url, location)
    except UnusableUrlError as error:
        raise failure.unusable(source.url, download.unit, str(error), location) from error


async def _take(response: aiohttp.ClientResponse, url: URL, transfer: Transfer) -> Fetched:
    download, source, offset = transfer.download, transfer.source, transfer.offset
    is_conditional = not offset and (source.etag or source.last_modified)
    if response.status == _NOT_MODIFIED and is_conditional:
        return Fetched(source, None, str(url), source.etag, source.last_modified)
    if response.status not in ((_OK, _PARTIAL, _UNSATISFIABLE) if offset else (_OK,)):
        wait = failure.retry_after(response.headers.get("Retry-After"))
        raise failure.of_status(source.url, download.unit, response.status, response.reason, wait)
    try:
        blob = await transfer.take(response)
    except OtherRangeError as error:
        transfer.forget(takes_ranges=False)
        raise failure.of_range(source.url, download.unit, str(error)) from error
    except (SizeMismatchError, DigestMismatchError) as error:
        # Pieces of two versions do not make a file, but either may be one.
        is_mixed = transfer.is_pieced and isinstance(error, DigestMismatchError)
        transfer.forget(takes_ranges=not is_mixed)
        exact = download.expected.size_bytes
        # Without a length in the answer, its end and a broken connection look the same.
        is_unknown = response.content_length is None and exact is not None
        is_short = is_unknown and transfer.received_bytes < (exact or 0)
        raise Failure(error, is_passing=is_short or is_mixed) from error
    return Fetched(
        source, blob, str(url), validator(response, "ETag"), validator(response, "Last-Modified")
    )
