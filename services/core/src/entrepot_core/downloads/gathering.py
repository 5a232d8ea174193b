"""Bytes gathered on their way to a sink that would rather have many at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entrepot_core.downloads.request import Sink

__all__ = ["Gathering"]

# Whoever reads goes on while the sink is busy, up to so much: the client library forgets what it
# has read and nobody has taken when the connection breaks.
BACKLOG_BYTES = 1024**2


class Gathering:
    """The bytes of one answer between whoever reads it and a sink."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._chunks: list[bytes] = []
        self._size = 0
        self._writing: asyncio.Task[None] | None = None

    async def take(self, chunk: bytes) -> None:
        """The next bytes; raises what the sink raises, perhaps of earlier ones."""
        if not self._sink.gathers_bytes:
            await self._sink.write(chunk)
            return
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size < self._sink.gathers_bytes:
            return
        if self._writing is not None:
            if not self._writing.done() and self._size < BACKLOG_BYTES:
                return
            await self._writing
        self._writing = asyncio.create_task(self._sink.write(self._gathered()))

    async def flush(self) -> None:
        """Returns when the sink has all that was taken; raises what it raises."""
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing
        if self._chunks:
            await self._sink.write(self._gathered())

    def forget(self) -> None:
        """Nobody wants the bytes any more."""
        if self._writing is not None:
            self._writing.cancel()

    def _gathered(self) -> bytes:
        chunks, self._chunks, self._size = self._chunks, [], 0
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)
