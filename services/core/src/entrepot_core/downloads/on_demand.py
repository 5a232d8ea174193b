"""Files that are fetched when clients ask for them: once, however many ask."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from entrepot_core.domain.errors import (
    BlobMissingError,
    DownloadFailedError,
    TooManyWaitingError,
)
from entrepot_core.downloads.arrival import Arrival, VerifyingSink
from entrepot_core.downloads.attempt import download_of
from entrepot_core.downloads.request import BatchSink
from entrepot_core.store import blob_loss, sources, wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from entrepot_core.blobs.blob_store import BlobBatch
    from entrepot_core.domain.blob import Blob
    from entrepot_core.downloads.downloader import Downloader
    from entrepot_core.downloads.keeper import Keeper
    from entrepot_core.downloads.remote import Remotes
    from entrepot_core.downloads.request import Fetched
    from entrepot_core.store.database import Cursor
    from entrepot_core.store.sources import SourcedFile

__all__ = ["VERIFY_FIRST_BYTES", "OnDemand"]

log = structlog.get_logger()

# A file that is known to be no longer is verified before a client gets its first byte.
VERIFY_FIRST_BYTES = 4 * 1024**2
_MOST_UNDER_WAY = 1_000
_RECORDING_THREADS = 8

_Key = tuple[int, str, bool]


class _Flight:
    """What is done for a file that somebody asked for; at most one for each key."""

    def __init__(self) -> None:
        self.readers = 0
        self.is_over = False
        # Set when it is known which of these there is.
        self.is_open = threading.Event()
        self.blob: Blob | None = None
        self.error: BaseException | None = None
        self.arrival: Arrival | None = None

        self.file: SourcedFile | None = None
        self.is_given_out = False
        self.batch: BlobBatch | None = None
        self.future: Future[Fetched] | None = None


class OnDemand:
    """Fetches single files for clients that wait.

    Args:
        keeper: Where the bytes go.
        downloader: Who fetches them.
        remotes: Where from.
        verify_first_bytes: Up to which length a file is verified before it is given out.
    """

    def __init__(
        self,
        keeper: Keeper,
        downloader: Downloader,
        remotes: Remotes,
        *,
        verify_first_bytes: int = VERIFY_FIRST_BYTES,
    ) -> None:
        self._keeper = keeper
        self._downloader = downloader
        self._remotes = remotes
        self._verify_first_bytes = verify_first_bytes
        self._guard = threading.Lock()
        self._under_way: dict[_Key, _Flight] = {}
        # Rows and syncs of what has come; the downloads themselves need no thread.
        self._recording = ThreadPoolExecutor(_RECORDING_THREADS, thread_name_prefix="on-demand")

    def fetch(self, content_id: int, relative_path: str) -> Blob:
        """The file of a unit, stored and verified; from a source, if it is not here yet."""
        key = (content_id, relative_path, True)
        flight = self._join(key)
        try:
            if flight.arrival is not None:
                flight.arrival.wait(flight.arrival.reader())
            return _known(flight)
        finally:
            self._part(key, flight)

    def stream(
        self,
        content_id: int,
        relative_path: str,
        *,
        is_kept: bool,
        when_gone: Callable[[Callable[[], None]], bool] = lambda _: True,
    ) -> Iterator[bytes | Blob]:
        """The bytes of a file from its start, as they come; and its blob, once it is stored.

        What is stored already, and what is kept and small, is its blob alone. What is kept is
        fetched to its end, whoever leaves; what is not, as long as somebody reads it. Raises what
        a download raises, also after some chunks, but never after all of them.

        Args:
            content_id: The unit.
            relative_path: Its file.
            is_kept: Whether it is stored when it has come.
            when_gone: Takes what is to be called when the client goes; False if it has gone.
        """
        key = (content_id, relative_path, is_kept)
        flight = self._join(key)
        try:
            if flight.arrival is None:
                yield _known(flight)
                return
            reader = flight.arrival.reader()
            if not when_gone(reader.leave):
                return
            if flight.is_given_out:
                yield from flight.arrival.chunks(reader)
            flight.arrival.wait(reader)
            if flight.blob is not None:
                yield flight.blob
        finally:
            self._part(key, flight)

    def discard_lost(self, blob: Blob) -> bool:
        """Whether the bytes of a recorded blob are not there; then it is recorded no longer."""
        if self._keeper.store.size(blob.digest) == blob.size_bytes:
            return False
        log.error("blob.lost", sha256=blob.hex)
        return blob_loss.forget(self._keeper.database, self._keeper.store, blob)

    def close(self) -> None:
        """Ends when all that has come is recorded. The downloader must have ended before."""
        self._recording.shutdown()

    def _join(self, key: _Key) -> _Flight:
        """What is done for a file, begun if nobody else has; to be parted from in the end."""
        with self._guard:
            flight = self._under_way.get(key)
            is_ours = flight is None
            if flight is None:
                if len(self._under_way) >= _MOST_UNDER_WAY:
                    raise TooManyWaitingError(
                        f"{_MOST_UNDER_WAY} files are being fetched for clients already.",
                        retry_after_seconds=5,
                    )
                flight = self._under_way[key] = _Flight()
            flight.readers += 1
        if is_ours:
            self._open(key, flight)
        flight.is_open.wait()
        if flight.error is not None:
            self._part(key, flight)
            raise flight.error
        return flight

    def _open(self, key: _Key, flight: _Flight) -> None:
        try:
            file = self._find(key)
            if file.stored is not None:
                flight.blob = file.stored
            else:
                self._begin(key, flight, file)
        except BaseException as error:  # noqa: BLE001  raised to all who wait
            flight.error = error
        finally:
            if flight.future is None:
                self._close(key, flight)
            flight.is_open.set()

    def _begin(self, key: _Key, flight: _Flight, file: SourcedFile) -> None:
        is_kept = key[2]
        download = replace(download_of(file, self._remotes), heeds_cooldown=True)
        size = download.expected.size_bytes
        is_small = size is not None and size <= self._verify_first_bytes
        flight.file = file
        # What is kept and small is read from where it is stored.
        flight.is_given_out = not (is_kept and is_small)
        flight.batch = self._keeper.store.begin() if is_kept else None
        flight.arrival = Arrival(
            VerifyingSink() if flight.batch is None else BatchSink(flight.batch),
            is_read=flight.is_given_out,
            verify_first=is_small,
        )
        flight.future = self._downloader.submit(download, flight.arrival)

        def end(future: Future[Fetched]) -> None:
            self._recording.submit(self._end, key, flight, future)

        flight.future.add_done_callback(end)

    def _end(self, key: _Key, flight: _Flight, future: Future[Fetched]) -> None:
        error: BaseException | None = None
        try:
            self._keep(flight, future.result())
        except CancelledError:
            error = DownloadFailedError("The download was given up, as nobody waited for it.")
        except BaseException as failed:  # noqa: BLE001  raised to all who wait
            error = failed
        if flight.batch is not None:
            flight.batch.__exit__(None, None, None)
        if flight.arrival is not None:
            flight.arrival.end(error)
        self._close(key, flight)

    def _keep(self, flight: _Flight, fetched: Fetched) -> None:
        blob, file = fetched.blob, flight.file
        if blob is None or file is None:
            raise DownloadFailedError(f"{fetched.final_url} did not send the file.")
        if flight.batch is None:
            return

        def identify(cursor: Cursor) -> None:
            wanted.identify(cursor, [(file.content_id, file.relative_path, blob)])

        self._keeper.record(flight.batch, also=identify)
        flight.blob = blob

    def _close(self, key: _Key, flight: _Flight) -> None:
        """Nothing more will happen: who asks from now on begins anew."""
        with self._guard:
            flight.is_over = True
            self._forget(key, flight)
            if not flight.readers and flight.arrival is not None:
                flight.arrival.close()

    def _part(self, key: _Key, flight: _Flight) -> None:
        with self._guard:
            flight.readers -= 1
            is_abandoned = not (flight.readers or flight.is_over or flight.batch)
            if is_abandoned:
                self._forget(key, flight)
            elif not flight.readers and flight.is_over and flight.arrival is not None:
                flight.arrival.close()
        if is_abandoned and flight.future is not None:
            flight.future.cancel()

    def _forget(self, key: _Key, flight: _Flight) -> None:
        if self._under_way.get(key) is flight:
            del self._under_way[key]

    def _find(self, key: _Key) -> SourcedFile:
        content_id, relative_path, _ = key
        file = self._look_up(content_id, relative_path)
        if file is not None and file.stored is not None and self.discard_lost(file.stored):
            file = self._look_up(content_id, relative_path)
        if file is None or (file.stored is None and not file.sources):
            raise BlobMissingError(
                f"The file {relative_path} is not stored, and there is no remote to fetch it "
                "from.",
                metadata={"unit": relative_path},
            )
        return file

    def _look_up(self, content_id: int, relative_path: str) -> SourcedFile | None:
        with self._keeper.database.transaction() as cursor:
            return sources.find(cursor, content_id, relative_path)


def _known(flight: _Flight) -> Blob:
    if flight.blob is None:
        raise DownloadFailedError("The download ended without a file.")
    return flight.blob
