"""Behaviours of an upstream that keeps to HTTP, if sometimes slowly or with bad news."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entrepot_sdk.testing.upstream.exchange import Exchange

__all__ = ["HONEST", "tag_of"]

LAST_MODIFIED = "Mon, 02 Jan 2023 03:04:05 GMT"
_UNAUTHORIZED = 401


def tag_of(body: bytes) -> str:
    """The strong ETag of some bytes."""
    return f'"{hashlib.sha256(body).hexdigest()[:16]}"'


async def ok(exchange: Exchange) -> None:
    """The body, in one piece."""
    await exchange.send(200, exchange.body)


async def empty(exchange: Exchange) -> None:
    """200 and no byte, whatever the body is."""
    await exchange.send(200, b"")


async def etag(exchange: Exchange) -> None:
    """The body with an ETag, or 304 to whoever has it."""
    tag = tag_of(exchange.body)
    if exchange.request.headers.get("if-none-match") == tag:
        await exchange.send(304, b"", [("ETag", tag)])
    else:
        await exchange.send(200, exchange.body, [("ETag", tag)])


async def last_modified(exchange: Exchange) -> None:
    """The body with a date, or 304 to whoever has it."""
    if exchange.request.headers.get("if-modified-since") == LAST_MODIFIED:
        await exchange.send(304, b"", [("Last-Modified", LAST_MODIFIED)])
    else:
        await exchange.send(200, exchange.body, [("Last-Modified", LAST_MODIFIED)])


async def ranges(exchange: Exchange) -> None:
    """The body with an ETag, or the rest of it to whoever asks for a range of that ETag."""
    body, offset, tag = exchange.body, exchange.request.offset, tag_of(exchange.body)
    if offset is None or exchange.request.headers.get("if-range", tag) != tag:
        await exchange.send(200, body, [("ETag", tag)])
    elif offset >= len(body):
        await exchange.send(416, b"", [("Content-Range", f"bytes */{len(body)}")])
    else:
        shown = f"bytes {offset}-{len(body) - 1}/{len(body)}"
        await exchange.send(206, body[offset:], [("ETag", tag), ("Content-Range", shown)])


async def chunked(exchange: Exchange) -> None:
    """The body in two chunks, without a length."""
    half = len(exchange.body) // 2
    await exchange.head(200, [("Transfer-Encoding", "chunked")])
    for piece in (exchange.body[:half], exchange.body[half:]):
        if piece:
            await exchange.write(b"%x\r\n%s\r\n" % (len(piece), piece))
    await exchange.write(b"0\r\n\r\n")


async def status(exchange: Exchange) -> None:
    """The status it was set up with, and a short text."""
    number = exchange.option("status", 500)
    challenge = [("WWW-Authenticate", 'Basic realm="test"')] if number == _UNAUTHORIZED else []
    await exchange.send(number, b"no\n", challenge)


async def busy(exchange: Exchange) -> None:
    """429, or the `status` it was set up with, and a Retry-After of `retry_after`."""
    wait = exchange.text("retry_after", "1")
    await exchange.send(exchange.option("status", 429), b"later\n", [("Retry-After", wait)])


async def redirect(exchange: Exchange) -> None:
    """302, or the `status` it was set up with, to `location`."""
    location = exchange.text("location", "/")
    await exchange.send(exchange.option("status", 302), b"", [("Location", location)])


async def slow(exchange: Exchange) -> None:
    """The body in pieces, with a pause (`pause_ms`) after each of `pieces`."""
    await exchange.send(200, b"", length=len(exchange.body))
    step = max(1, len(exchange.body) // exchange.option("pieces", 10))
    for start in range(0, len(exchange.body), step):
        await exchange.write(exchange.body[start : start + step])
        await asyncio.sleep(exchange.option("pause_ms", 20) / 1000)


async def slow_start(exchange: Exchange) -> None:
    """Nothing until the upstream is released, then the body."""
    await exchange.released.wait()
    await exchange.send(200, exchange.body)


HONEST = (
    *(ok, empty, etag, last_modified, ranges, chunked, status, busy, redirect, slow),
    slow_start,
)
"""Behaviours that a client must cope with."""
