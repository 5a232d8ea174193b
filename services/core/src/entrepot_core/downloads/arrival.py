"""A file on its way from an upstream: fetched once, and read by many while it comes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from entrepot_core.domain.blob import CHUNK_BYTES
from entrepot_core.domain.errors import DownloadFailedError
from entrepot_rpc.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from entrepot_core.domain.blob import Blob, Verifier
    from entrepot_core.downloads.request import Sink

__all__ = ["Arrival", "Reader", "VerifyingSink"]


class Reader:
    """Somebody who reads an arrival, from its start and at its own pace."""

    def __init__(self, changed: threading.Condition) -> None:
        self.has_left = False
        self._changed = changed

    def leave(self) -> None:
        """Lets whoever waits in `chunks` go. For any thread."""
        with self._changed:
            self.has_left = True
            self._changed.notify_all()


class VerifyingSink:
    """Looks at the bytes and keeps none."""

    gathers_bytes = 0

    def __init__(self) -> None:
        self._verifier: Verifier

    def begin(self, verifier: Verifier) -> None:
        self._verifier = verifier

    async def write(self, chunk: bytes) -> None:
        self._verifier.update(chunk)

    def finish(self) -> Blob:
        return self._verifier.finish()

    def abort(self) -> None:
        """There is nothing to forget."""


class Arrival:
    """Takes the bytes of a download, as its sink, and lets readers have them.

    Until all is verified readers do not get the last byte, so what is wrong never looks complete.
    A further try must bring the same bytes as far as readers have them, or the download fails.

    Args:
        sink: Where the bytes go besides.
        is_read: Whether readers want the bytes, and not only to hear of the end.
        verify_first: Readers get nothing before all is verified.
    """

    def __init__(self, sink: Sink, *, is_read: bool, verify_first: bool) -> None:
        self.changed = threading.Condition()
        self._sink = sink
        self._is_read = is_read
        self._verify_first = verify_first
        self._spool = Spool()
        self._position = 0
        self._given = 0
        self._is_verified = False
        self._has_ended = False
        self._error: BaseException | None = None

    # --- for the downloader

    def begin(self, verifier: Verifier) -> None:
        self._sink.begin(verifier)
        self._position = 0

    @property
    def gathers_bytes(self) -> int:
        # Readers have them as they come.
        return 0 if self._is_read else self._sink.gathers_bytes

    async def write(self, chunk: bytes) -> None:
        await self._sink.write(chunk)
        if not self._is_read:
            return
        with self.changed:
            known = self._spool.read(self._position, len(chunk))
            if known and not chunk.startswith(known):
                self._forget_from(self._position)
                known = b""
            self._spool.write(memoryview(chunk)[len(known) :])
            self._position += len(chunk)
            self.changed.notify_all()

    def finish(self) -> Blob:
        blob = self._sink.finish()
        with self.changed:
            if self._position < self._spool.size_bytes:
                self._forget_from(self._position)
            self._is_verified = True
            self.changed.notify_all()
        return blob

    def abort(self) -> None:
        self._sink.abort()

    # --- for whoever began it

    def end(self, error: BaseException | None) -> None:
        """No more will come: all is there, or why not."""
        with self.changed:
            self._error = error
            self._has_ended = True
            self.changed.notify_all()

    def close(self) -> None:
        """Gives back the room of the bytes, when nobody reads them any more."""
        self._spool.close()

    # --- for readers

    def reader(self) -> Reader:
        """One more who reads."""
        return Reader(self.changed)

    def chunks(self, reader: Reader) -> Iterator[bytes]:
        """The bytes from the start, in chunks of at most 1 MiB, as they come.

        Ends when all are read and verified, or the reader has left; raises why no more will come.
        """
        offset = 0
        while chunk := self._next(reader, offset):
            offset += len(chunk)
            yield chunk

    def wait(self, reader: Reader) -> None:
        """Returns when it has ended or the reader has left; raises why it did not end well."""
        with self.changed:
            while not self._has_ended and not reader.has_left:
                self.changed.wait()
        if self._error is not None and not reader.has_left:
            raise self._error

    def _next(self, reader: Reader, offset: int) -> bytes:
        with self.changed:
            while (count := self._readable() - offset) <= 0 and not reader.has_left:
                if self._error is not None:
                    raise self._error
                if self._is_verified:
                    return b""
                self.changed.wait()
            if reader.has_left:
                return b""
            self._given = max(self._given, offset + min(count, CHUNK_BYTES))
        return self._spool.read(offset, min(count, CHUNK_BYTES))

    def _readable(self) -> int:
        if self._is_verified:
            return self._spool.size_bytes
        return 0 if self._verify_first else self._spool.size_bytes - 1

    def _forget_from(self, position: int) -> None:
        if self._given > position:
            raise DownloadFailedError("The upstream sent other bytes when it was asked again.")
        self._spool.truncate(position)
