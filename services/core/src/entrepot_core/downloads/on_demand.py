"""Files that are fetched when a client first asks for them."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from entrepot_core.domain.errors import (
    BlobMissingError,
    DigestMismatchError,
    DownloadFailedError,
    SizeMismatchError,
)
from entrepot_core.downloads.attempt import download_of
from entrepot_core.downloads.flights import Flights
from entrepot_core.downloads.request import BatchSink
from entrepot_core.downloads.streaming import stream
from entrepot_core.store import sources, wanted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from entrepot_core.domain.blob import Blob
    from entrepot_core.domain.errors import (
        ServiceError,
    )
    from entrepot_core.downloads.downloader import Downloader
    from entrepot_core.downloads.keeper import Keeper
    from entrepot_core.downloads.remote import Remotes
    from entrepot_core.store.database import Cursor
    from entrepot_core.store.sources import SourcedFile

__all__ = ["OnDemand"]

COOLDOWN_SECONDS = 5.0
_MOST_FAILURES = 10_000


class OnDemand:
    """Fetches single files for clients that wait, each once however many ask.

    Args:
        keeper: Where the bytes go.
        downloader: Who fetches them.
        remotes: Where from.
        cooldown_seconds: How long a failure stands, before the upstream is asked again.
    """

    def __init__(
        self,
        keeper: Keeper,
        downloader: Downloader,
        remotes: Remotes,
        *,
        cooldown_seconds: float = COOLDOWN_SECONDS,
    ) -> None:
        self._keeper = keeper
        self._downloader = downloader
        self._remotes = remotes
        self._cooldown_seconds = cooldown_seconds
        self._flights: Flights[Blob] = Flights()
        self._guard = threading.Lock()
        self._failures: dict[tuple[int, str], tuple[float, ServiceError]] = {}

    def fetch(self, content_id: int, relative_path: str) -> Blob:
        """The file of a unit, stored and verified; from a source, if it is not here yet."""
        key = (content_id, relative_path)
        return self._flights.join(key, lambda: self._fetch(key))

    def stream(self, content_id: int, relative_path: str) -> Iterator[bytes]:
        """The bytes of a file that is not kept; the last chunk comes when all is verified."""
        file = self._find((content_id, relative_path))
        if file.stored is not None:
            return self._keeper.store.read(file.stored.digest)
        return stream(self._downloader, download_of(file, self._remotes))

    def _fetch(self, key: tuple[int, str]) -> Blob:
        self._refuse_in_cooldown(key)
        file = self._find(key)
        if file.stored is not None:
            return file.stored
        try:
            return self._keep(file)
        except (DownloadFailedError, DigestMismatchError, SizeMismatchError) as error:
            error.retry_after_seconds = max(error.retry_after_seconds or 0, self._cooldown_seconds)
            self._remember(key, error)
            raise

    def _keep(self, file: SourcedFile) -> Blob:
        download = download_of(file, self._remotes)
        with self._keeper.store.begin() as batch:
            fetched = self._downloader.submit(download, BatchSink(batch)).result()
            blob = fetched.blob
            if blob is None:
                raise DownloadFailedError(f"{fetched.final_url} did not send the file.")

            def identify(cursor: Cursor) -> None:
                wanted.identify(cursor, [(file.content_id, file.relative_path, blob)])

            self._keeper.record(batch, also=identify)
        return blob

    def _find(self, key: tuple[int, str]) -> SourcedFile:
        with self._keeper.database.transaction() as cursor:
            file = sources.find(cursor, *key)
        if file is None or (file.stored is None and not file.sources):
            raise BlobMissingError(
                f"The file {key[1]} is not stored, and there is no remote to fetch it from.",
                metadata={"unit": key[1]},
            )
        return file

    def _refuse_in_cooldown(self, key: tuple[int, str]) -> None:
        with self._guard:
            until, error = self._failures.get(key, (0.0, None))
            if error is not None and time.monotonic() < until:
                raise error
            self._failures.pop(key, None)

    def _remember(self, key: tuple[int, str], error: ServiceError) -> None:
        with self._guard:
            if len(self._failures) >= _MOST_FAILURES:
                self._failures.clear()
            self._failures[key] = (time.monotonic() + self._cooldown_seconds, error)
