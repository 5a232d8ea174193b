"""Downloads that are recorded together: as many as are done when the disk is ready for more."""

from __future__ import annotations

import queue
import time
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from entrepot_core.downloads.request import BatchSink

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from types import TracebackType
    from typing import Self

    from entrepot_core.downloads.downloader import Downloader
    from entrepot_core.downloads.keeper import Keeper
    from entrepot_core.downloads.request import Download, Fetched
    from entrepot_core.store.database import Cursor

__all__ = ["DownloadGroup", "Finished"]

K = TypeVar("K")

_MOST_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Finished(Generic[K]):
    """The end of one download: either of the two."""

    key: K
    fetched: Fetched | None
    error: BaseException | None


class DownloadGroup(Generic[K]):
    """Downloads of one attempt. For one thread; the end of its `with` block ends them."""

    def __init__(self, keeper: Keeper, downloader: Downloader, workspace_id: int | None) -> None:
        self._keeper = keeper
        self._downloader = downloader
        self._workspace_id = workspace_id
        self._batch = keeper.store.begin()
        self._under_way: dict[Future[Fetched], K] = {}
        self._done: queue.SimpleQueue[Future[Fetched] | None] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        futures = list(self._under_way)
        for future in futures:
            future.cancel()
        self._batch.__exit__(kind, error, traceback)

    def __len__(self) -> int:
        """How many are under way, or done and not collected."""
        return len(self._under_way)

    def submit(self, key: K, download: Download) -> None:
        """Begins a download."""
        future = self._downloader.submit(download, BatchSink(self._batch))
        self._under_way[future] = key
        future.add_done_callback(self._done.put)

    def wake(self) -> None:
        """Makes `collect` return. For other threads."""
        self._done.put(None)

    def collect(
        self,
        timeout: float | None,
        *,
        linger: float = 0,
        also: Callable[[Cursor, list[Finished[K]]], None] | None = None,
    ) -> list[Finished[K]]:
        """Waits for one that is done, at most the timeout, and takes all that are done by then.

        Their blobs are recorded when it returns. With `linger` it waits that much longer for more.
        `also` writes what names the blobs, in the same transaction.
        """
        finished = [self._finished(future) for future in self._take(timeout, linger)]
        if any(one.fetched is not None for one in finished):
            self._keeper.record(
                self._batch,
                workspace_id=self._workspace_id,
                also=None if also is None else lambda cursor: also(cursor, finished),
            )
        return finished

    def _take(self, timeout: float | None, linger: float) -> list[Future[Fetched]]:
        taken: list[Future[Fetched]] = []
        deadline = None if timeout is None else time.monotonic() + timeout
        while len(taken) < _MOST_AT_ONCE:
            if taken and len(taken) == len(self._under_way):
                # There is nothing that could be waited for.
                break
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                future = self._done.get(timeout=left)
            except queue.Empty:
                break
            if future is None:
                deadline = 0.0
                continue
            if not taken:
                deadline = time.monotonic() + linger
            taken.append(future)
        return taken

    def _finished(self, future: Future[Fetched]) -> Finished[K]:
        key = self._under_way.pop(future)
        try:
            return Finished(key, future.result(), None)
        except (Exception, CancelledError) as error:  # noqa: BLE001  handed on
            return Finished(key, None, error)
