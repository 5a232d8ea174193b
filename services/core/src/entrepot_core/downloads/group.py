"""Downloads that are recorded together: as many as are done when the disk is ready for more."""

from __future__ import annotations

import threading
from collections import deque
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
# So many that are done are not kept waiting for more.
_ENOUGH = 250


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
        self._done: deque[Future[Fetched]] = deque()
        # Told when so many are done, and not of each: every time that the thread which collects
        # wakes, the downloader's loop loses the interpreter to it.
        self._enough = 1
        self._signal = threading.Event()
        self._is_woken = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()
        self._batch.__exit__(kind, error, traceback)

    def __len__(self) -> int:
        """How many are under way, or done and not collected."""
        return len(self._under_way)

    def submit(self, key: K, download: Download) -> None:
        """Begins a download."""
        future = self._downloader.submit(download, BatchSink(self._batch))
        self._under_way[future] = key
        future.add_done_callback(self._note)

    def cancel(self) -> None:
        """Ends what is under way; what is done can still be collected."""
        for future in list(self._under_way):
            future.cancel()

    def wake(self) -> None:
        """Makes `collect` return. For other threads."""
        self._is_woken = True
        self._signal.set()

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
        self._wait_for(1, timeout)
        if self._done and linger:
            # All that are under way are enough: there is nothing more that could be waited for.
            self._wait_for(min(_ENOUGH, len(self._under_way)), linger)
        self._is_woken = False
        return [self._done.popleft() for _ in range(min(len(self._done), _MOST_AT_ONCE))]

    def _wait_for(self, count: int, timeout: float | None) -> None:
        self._enough = count
        self._signal.clear()
        if len(self._done) < count and not self._is_woken:
            self._signal.wait(timeout)

    def _note(self, future: Future[Fetched]) -> None:
        self._done.append(future)
        if len(self._done) >= self._enough:
            self._signal.set()

    def _finished(self, future: Future[Fetched]) -> Finished[K]:
        key = self._under_way.pop(future)
        try:
            return Finished(key, future.result(), None)
        except (Exception, CancelledError) as error:  # noqa: BLE001  handed on
            return Finished(key, None, error)
