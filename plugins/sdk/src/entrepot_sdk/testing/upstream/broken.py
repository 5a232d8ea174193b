"""Behaviours of an upstream whose transfers break, stall, or never end."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from entrepot_sdk.testing.upstream.honest import tag_of

if TYPE_CHECKING:
    from entrepot_sdk.testing.upstream.exchange import Exchange

__all__ = ["BROKEN"]

_PIECE = bytes(64 * 1024)


async def truncated(exchange: Exchange) -> None:
    """Half of the body; the connection ends before the length that was announced."""
    half = exchange.body[: len(exchange.body) // 2]
    await exchange.send(200, half, length=len(exchange.body))


async def halves(exchange: Exchange) -> None:
    """Half of what is asked for each time, then the end of the connection; ranges are honoured."""
    body, tag = exchange.body, tag_of(exchange.body)
    offset = exchange.request.offset
    if offset is None or exchange.request.headers.get("if-range") not in (None, tag):
        offset = None
    rest = body[offset or 0 :]
    headers = [("ETag", tag)]
    if offset is not None:
        headers.append(("Content-Range", f"bytes {offset}-{len(body) - 1}/{len(body)}"))
    status = 200 if offset is None else 206
    await exchange.send(status, rest[: (len(rest) + 1) // 2], headers, length=len(rest))


async def reset(exchange: Exchange) -> None:
    """Half of the body, then a reset of the connection."""
    await truncated(exchange)
    exchange.reset()


async def stall(exchange: Exchange) -> None:
    """Half of the body, then nothing until the upstream is released."""
    await truncated(exchange)
    await exchange.released.wait()


async def silent(exchange: Exchange) -> None:
    """Nothing at all until the upstream is released."""
    await exchange.released.wait()


async def hangs_up(_: Exchange) -> None:
    """The end of the connection instead of an answer."""


async def reset_first(exchange: Exchange) -> None:
    """A reset of the connection instead of an answer."""
    exchange.reset()


async def trickle(exchange: Exchange) -> None:
    """A byte each `pause_ms`, a second by default; the rest when the upstream is released."""
    await exchange.send(200, b"", length=len(exchange.body))
    pause = exchange.option("pause_ms", 1000) / 1000
    for position in range(len(exchange.body)):
        try:
            await asyncio.wait_for(exchange.released.wait(), pause)
        except TimeoutError:
            await exchange.write(exchange.body[position : position + 1])
        else:
            await exchange.write(exchange.body[position:])
            return


async def endless(exchange: Exchange) -> None:
    """The body, and then zeros without end; no length is announced."""
    await exchange.head(200)
    await exchange.write(exchange.body)
    while True:
        await exchange.write(_PIECE)


async def endless_headers(exchange: Exchange) -> None:
    """Headers without end."""
    await exchange.write(b"HTTP/1.1 200 OK\r\n")
    for number in itertools.count():
        await exchange.write(b"X-%d: %s\r\n" % (number, b"x" * 100) * 600)


async def huge_header(exchange: Exchange) -> None:
    """The body after one header of `size` bytes, 1 MiB by default."""
    value = "x" * exchange.option("size", 1024 * 1024)
    await exchange.send(200, exchange.body, [("X-Huge", value)])


async def continues(exchange: Exchange) -> None:
    """100 Continue without end."""
    while True:
        await exchange.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 2600)


async def chunked_garbage(exchange: Exchange) -> None:
    """Half of the body in a chunk, and then a chunk whose size is no number."""
    half = exchange.body[: len(exchange.body) // 2]
    await exchange.head(200, [("Transfer-Encoding", "chunked")])
    await exchange.write(b"%x\r\n%s\r\nlots\r\n%s\r\n0\r\n\r\n" % (len(half), half, half))


async def chunked_cut(exchange: Exchange) -> None:
    """The whole body in a chunk, but never the last chunk that says so."""
    await exchange.head(200, [("Transfer-Encoding", "chunked")])
    await exchange.write(b"%x\r\n%s\r\n" % (len(exchange.body), exchange.body))


async def chunked_with_length(exchange: Exchange) -> None:
    """The body in a chunk, and a length that says otherwise: two readers, two bodies."""
    headers = [("Transfer-Encoding", "chunked"), ("Content-Length", "3")]
    await exchange.head(200, headers)
    await exchange.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(exchange.body), exchange.body))


async def not_http(exchange: Exchange) -> None:
    """The greeting of another protocol."""
    await exchange.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


BROKEN = (
    *(truncated, halves, reset, stall, silent, hangs_up, reset_first, trickle, endless),
    *(endless_headers, huge_header, continues, chunked_garbage, chunked_cut),
    *(chunked_with_length, not_http),
)
"""Behaviours that a client must give up on, or start again."""
