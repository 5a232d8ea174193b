"""Bytes that go to a client as they come, verified before the last of them."""

from __future__ import annotations

import asyncio
import queue
from typing import TYPE_CHECKING

from entrepot_core.domain.blob import CHUNK_BYTES
from entrepot_core.domain.errors import DownloadFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from entrepot_core.domain.blob import Blob, Verifier
    from entrepot_core.downloads.downloader import Downloader
    from entrepot_core.downloads.request import Download

__all__ = ["stream"]

# Chunks that wait for a slow client, before the upstream has to.
_AHEAD = 8


def stream(downloader: Downloader, download: Download) -> Iterator[bytes]:
    """The bytes of a file, in chunks of at most 1 MiB.

    Raises what a download raises; also after some chunks, but never after all of them: the last
    is held back until the whole is verified.
    """
    sink = _StreamSink()
    future = downloader.submit(download, sink)
    future.add_done_callback(lambda _: sink.chunks.put(None))
    try:
        while (chunk := sink.chunks.get()) is not None:
            yield chunk
            downloader.call_soon(sink.room.release)
        future.result()
    finally:
        future.cancel()


class _StreamSink:
    def __init__(self) -> None:
        self.chunks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.room = asyncio.Semaphore(_AHEAD)
        self._verifier: Verifier
        self._held = b""
        self._has_begun = False

    def begin(self, verifier: Verifier) -> None:
        if self._has_begun:
            raise DownloadFailedError("The upstream broke off in the middle of the file.")
        self._verifier = verifier
        self._held = b""

    async def write(self, chunk: bytes) -> None:
        self._verifier.update(chunk)
        for start in range(0, len(chunk), CHUNK_BYTES):
            await self._release()
            self._held = chunk[start : start + CHUNK_BYTES]

    def finish(self) -> Blob:
        blob = self._verifier.finish()
        if self._held:
            self.chunks.put(self._held)
        return blob

    def abort(self) -> None:
        self._held = b""

    async def _release(self) -> None:
        if self._held:
            self._has_begun = True
            await self.room.acquire()
            self.chunks.put(self._held)
