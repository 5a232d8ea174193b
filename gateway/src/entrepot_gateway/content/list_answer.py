"""Sends a list piece by piece as it is written, in gzip to those who take it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_gateway.content.negotiation import takes_gzip

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from entrepot_gateway.content.answer import Answer
    from entrepot_gateway.content.headers import HeaderList

# A tenth of the bytes at little more than the cost of writing the list.
_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Listed:
    """A listing, as far as conditions ask for it; some have neither tag nor time."""

    tag: bytes = b""
    time: int = 0


async def send_list(
    answer: Answer,
    request: Mapping[bytes, bytes],
    headers: HeaderList,
    pieces: AsyncIterator[bytes],
) -> None:
    """Answer with the pieces; the first comes before the status, so that a failure can be said."""
    is_compressed = takes_gzip(request.get(b"accept-encoding", b"").decode("latin-1"))
    if is_compressed:
        headers = [*headers, (b"content-encoding", b"gzip")]
        pieces = _compress(pieces)
    if answer.is_head:
        await answer.empty(200, headers)
        return
    first = await anext(pieces)
    await answer.start(200, headers)
    await answer.body(first)
    async for piece in pieces:
        await answer.body(piece)
    await answer.end()


async def _compress(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same in gzip; what is there is sent at once, so that a long list begins early."""
    gzip = zlib.compressobj(_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    async for piece in pieces:
        if piece:
            yield gzip.compress(piece) + gzip.flush(zlib.Z_SYNC_FLUSH)
    yield gzip.flush()
