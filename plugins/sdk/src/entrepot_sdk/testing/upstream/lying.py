"""Behaviours of an upstream that says one thing and sends another."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

from entrepot_sdk.testing.upstream.honest import ranges, tag_of

if TYPE_CHECKING:
    from entrepot_sdk.testing.upstream.exchange import Exchange

__all__ = ["LYING"]

_PAGE = b"<!doctype html><title>Oops</title><p>Please log in.</p>\n"


async def corrupted(exchange: Exchange) -> None:
    """As many bytes as the body has, but others."""
    await exchange.send(200, _others(exchange.body))


async def too_long(exchange: Exchange) -> None:
    """The body and a byte more, properly announced: another size than was promised elsewhere."""
    await exchange.send(200, exchange.body + b"!")


async def error_page(exchange: Exchange) -> None:
    """200 and a page of HTML that says that something is wrong."""
    await exchange.send(200, _PAGE, [("Content-Type", "text/html")])


async def head_lies(exchange: Exchange) -> None:
    """To HEAD another length and ETag than to GET."""
    if exchange.request.method == "HEAD":
        await exchange.send(200, b"", [("ETag", '"other"')], length=1)
    else:
        await exchange.send(200, exchange.body, [("ETag", tag_of(exchange.body))])


async def gzipped(exchange: Exchange) -> None:
    """The body compressed, which nobody asked for."""
    packed = gzip.compress(exchange.body, mtime=0)
    await exchange.send(200, packed, [("Content-Encoding", "gzip")])


async def bomb(exchange: Exchange) -> None:
    """`size` zeros, 64 MiB by default, compressed in so many `layers`, as the headers say."""
    packed = bytes(exchange.option("size", 64 * 1024 * 1024))
    layers = exchange.option("layers", 1)
    for _ in range(layers):
        packed = gzip.compress(packed, mtime=0)
    await exchange.send(200, packed, [("Content-Encoding", ", ".join(["gzip"] * layers))])


async def length_too_small(exchange: Exchange) -> None:
    """All of the body, of which the length announces half."""
    await exchange.send(200, exchange.body, length=len(exchange.body) // 2)


async def length_too_large(exchange: Exchange) -> None:
    """All of the body, of which the length announces twice as much."""
    await exchange.send(200, exchange.body, length=2 * len(exchange.body))


async def length_twice(exchange: Exchange) -> None:
    """Two lengths that differ."""
    await exchange.send(200, exchange.body, [("Content-Length", "1")])


async def length_negative(exchange: Exchange) -> None:
    """A length below zero."""
    await exchange.send(200, exchange.body, length=-1)


async def length_garbage(exchange: Exchange) -> None:
    """A length that is no number."""
    await exchange.send(200, exchange.body, length="many")


async def ignores_range(exchange: Exchange) -> None:
    """Half of the body and the end of the connection to the first, then all to everybody.

    It says that it accepts ranges.
    """
    headers = [("ETag", tag_of(exchange.body)), ("Accept-Ranges", "bytes")]
    sent = exchange.body if exchange.number else exchange.body[: len(exchange.body) // 2]
    await exchange.send(200, sent, headers, length=len(exchange.body))


async def ignores_if_range(exchange: Exchange) -> None:
    """Half of other bytes to the first; then the rest of the body, whatever If-Range says."""
    await _change(exchange, heeds_if_range=False)


async def changing(exchange: Exchange) -> None:
    """Half of other bytes to the first; then the body, for the file has changed meanwhile."""
    await _change(exchange, heeds_if_range=True)


async def wrong_range(exchange: Exchange) -> None:
    """Half of the body to the first; then a range that begins earlier than the one asked for."""
    body, tag = exchange.body, tag_of(exchange.body)
    offset = exchange.request.offset
    if offset is None:
        await exchange.send(200, body[: len(body) // 2], [("ETag", tag)], length=len(body))
    else:
        shown = f"bytes 0-{len(body) - 1}/{len(body)}"
        await exchange.send(206, body, [("ETag", tag), ("Content-Range", shown)])


async def unasked_range(exchange: Exchange) -> None:
    """206 with half of the body, though all of it was asked for."""
    half = exchange.body[: len(exchange.body) // 2]
    shown = f"bytes 0-{len(half) - 1}/{len(exchange.body)}"
    await exchange.send(206, half, [("Content-Range", shown)])


async def redirect_loop(exchange: Exchange) -> None:
    """A redirect to itself."""
    await exchange.send(302, b"", [("Location", exchange.request.path)])


async def redirect_chain(exchange: Exchange) -> None:
    """A redirect to itself with another query, for ever."""
    path = exchange.request.path.partition("?")[0]
    await exchange.send(302, b"", [("Location", f"{path}?step={exchange.number + 1}")])


async def header_injection(exchange: Exchange) -> None:
    """The body, with an ETag and a Last-Modified that contain control characters."""
    evil = [("ETag", '"a\x0bSet-Cookie: b=c\x7f"'), ("Last-Modified", "now\x08\x1b[31m")]
    await exchange.send(200, exchange.body, evil)


async def _change(exchange: Exchange, *, heeds_if_range: bool) -> None:
    old = _others(exchange.body)
    if not exchange.number:
        await exchange.send(200, old[: len(old) // 2], [("ETag", tag_of(old))], length=len(old))
        return
    if not heeds_if_range:
        exchange.request.headers.pop("if-range", None)
    await ranges(exchange)


def _others(body: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in body)


LYING = (
    *(corrupted, too_long, error_page, head_lies, gzipped, bomb, length_too_small),
    *(length_too_large, length_twice, length_negative, length_garbage, ignores_range),
    *(ignores_if_range, changing, wrong_range, unasked_range, redirect_loop, redirect_chain),
    header_injection,
)
"""Behaviours that a client must not believe."""
