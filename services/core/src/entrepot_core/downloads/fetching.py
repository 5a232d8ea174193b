"""What plugins ask to be fetched: metadata, asked for conditionally when it was fetched before."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from entrepot_core.domain.blob import NOTHING_EXPECTED
from entrepot_core.domain.errors import DownloadFailedError, ServiceError
from entrepot_core.downloads.group import DownloadGroup
from entrepot_core.downloads.request import Download
from entrepot_core.store import fetch_cache
from entrepot_core.store.fetch_cache import Remembered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from entrepot_core.domain.blob import Blob, Expected
    from entrepot_core.downloads.downloader import Downloader
    from entrepot_core.downloads.group import Finished
    from entrepot_core.downloads.keeper import Keeper
    from entrepot_core.downloads.request import Source
    from entrepot_core.store.database import Cursor

__all__ = ["FetchItem", "FetchOutcome", "Fetching"]

UNDER_WAY = 100
# How long a caller that has gone away may go unnoticed.
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class FetchItem:
    """One file to fetch, under the name the plugin gave it."""

    item_id: str
    sources: tuple[Source, ...]
    expected: Expected = NOTHING_EXPECTED
    max_bytes: int = 1024**3


@dataclass(frozen=True, slots=True)
class FetchOutcome:
    """What became of an item: a blob, which may be that of last time, or an error.

    `previous` is that of last time, if it is another one.
    """

    item_id: str
    blob: Blob | None = None
    previous: Blob | None = None
    is_not_modified: bool = False
    final_url: str = ""
    error: ServiceError | None = None


_Known = dict[tuple[int, str], Remembered]


class Fetching:
    """Fetches for attempts, and remembers what upstreams said."""

    def __init__(self, keeper: Keeper, downloader: Downloader) -> None:
        self._keeper = keeper
        self._downloader = downloader

    def fetch(
        self,
        workspace_id: int,
        items: Sequence[FetchItem],
        is_active: Callable[[], bool] = lambda: True,
    ) -> Iterator[FetchOutcome]:
        """The outcomes, as they come; the attempt holds the blobs. Ends early if not active."""
        known = self._recall(items)
        waiting = deque(items)
        with DownloadGroup[FetchItem](self._keeper, self._downloader, workspace_id) as group:
            while (waiting or group) and is_active():
                while waiting and len(group) < UNDER_WAY:
                    item = waiting.popleft()
                    group.submit(item, _download(item, known))
                for one in group.collect(_LOOK_SECONDS, also=_remember):
                    outcome = self._outcome(workspace_id, one, known)
                    if outcome is not None:
                        yield outcome
                        continue
                    # What was remembered has gone since: ask without it.
                    for source in one.key.sources:
                        known.pop((source.remote.remote_id, source.url), None)
                    waiting.append(one.key)

    def _recall(self, items: Iterable[FetchItem]) -> _Known:
        asked = {(s.remote.remote_id, s.url) for item in items for s in item.sources}
        with self._keeper.database.transaction() as cursor:
            return fetch_cache.recall(cursor, asked)

    def _outcome(
        self, workspace_id: int, one: Finished[FetchItem], known: _Known
    ) -> FetchOutcome | None:
        item_id = one.key.item_id
        if one.fetched is None:
            if isinstance(one.error, ServiceError):
                return FetchOutcome(item_id, error=one.error)
            raise one.error or DownloadFailedError("The download ended without a reason.")
        source = one.fetched.source
        remembered = known.get((source.remote.remote_id, source.url))
        if one.fetched.blob is not None:
            return FetchOutcome(
                item_id,
                one.fetched.blob,
                previous=self._previous(workspace_id, one.fetched.blob, remembered),
                final_url=one.fetched.final_url,
            )
        if remembered is None:
            return None
        with self._keeper.database.transaction() as cursor:
            if not fetch_cache.confirm(cursor, workspace_id, remembered):
                return None
        return FetchOutcome(
            item_id, remembered.blob, is_not_modified=True, final_url=remembered.final_url
        )

    def _previous(
        self, workspace_id: int, blob: Blob, remembered: Remembered | None
    ) -> Blob | None:
        if remembered is None or remembered.blob == blob:
            return None
        with self._keeper.database.transaction() as cursor:
            return remembered.blob if fetch_cache.lend(cursor, workspace_id, remembered) else None


def _download(item: FetchItem, known: _Known) -> Download:
    sources = tuple(_ask_again(source, item.expected, known) for source in item.sources)
    return Download(sources, item.expected, max_bytes=item.max_bytes)


def _ask_again(source: Source, expected: Expected, known: _Known) -> Source:
    remembered = known.get((source.remote.remote_id, source.url))
    # "Not modified" must not bring back what the plugin would not take: then all of it is asked
    # for, and verified.
    if remembered is None or (expected.digests and not expected.allows(remembered.blob)):
        return source
    if expected.size_bytes not in (None, remembered.blob.size_bytes):
        return source
    return replace(source, etag=remembered.etag, last_modified=remembered.last_modified)


def _remember(cursor: Cursor, finished: list[Finished[FetchItem]]) -> None:
    fetch_cache.remember(
        cursor,
        [
            Remembered(
                one.fetched.source.remote.remote_id,
                one.fetched.source.url,
                one.fetched.blob,
                one.fetched.final_url,
                one.fetched.etag,
                one.fetched.last_modified,
            )
            for one in finished
            if one.fetched is not None and one.fetched.blob is not None
        ],
    )
