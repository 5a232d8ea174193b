"""The downloads of an attempt: begun while its plugin stages, done before it commits."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from entrepot.type.v1 import progress_pb2
from entrepot_core.dispatch.unit_failures import failure_of_file
from entrepot_core.domain.errors import DatabaseUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from entrepot_core.dispatch.progress import AttemptProgress
    from entrepot_core.downloads.attempt import FailedFile

__all__ = ["Downloads", "Fetching"]

log = structlog.get_logger()

_RETRY_SECONDS = 0.5


class Downloads(Protocol):
    """The downloads of an attempt."""

    def start(self) -> None:
        """Begins."""

    def finish(self) -> None:
        """Returns when all that is staged is stored; raises the first error."""

    def cancel(self) -> None:
        """Ends what is under way."""

    @property
    def left_out(self) -> tuple[int, ...]:
        """The units with a file that could not be had."""


class Fetching:
    """Begins and ends them. `stop` may be called from any thread, at any time."""

    def __init__(
        self,
        downloads: Callable[..., Downloads],
        workspace_id: int,
        progress: AttemptProgress,
        failed: Callable[[], None],
    ) -> None:
        """`downloads` makes those of a workspace; `failed` is told that one cannot be had."""
        self._make = downloads
        self._workspace_id = workspace_id
        self._progress = progress
        self._failed = failed
        self._lock = threading.Lock()
        self._keeps_going = False
        self._is_stopped = False
        self._downloads: Downloads | None = None

    @property
    def left_out(self) -> tuple[int, ...]:
        """The units with a file that could not be had."""
        return self._downloads.left_out if self._downloads is not None else ()

    def begin(self, *, keeps_going: bool = False) -> None:
        """Begins, unless they were stopped; with `keeps_going` without what cannot be had."""
        self._keeps_going = keeps_going

        def report(told: Any) -> None:  # noqa: ANN401  DownloadProgress
            self._progress.count(
                progress_pb2.Progress(
                    code="core.download",
                    message="Downloading files",
                    done=told.files,
                    total=told.wanted_files,
                    unit=progress_pb2.Progress.UNIT_ITEMS,
                )
            )
            self._progress.count(
                progress_pb2.Progress(
                    code="core.download.bytes",
                    message="Downloading",
                    done=told.bytes,
                    unit=progress_pb2.Progress.UNIT_BYTES,
                )
            )

        with self._lock:
            if self._is_stopped:
                return
            self._downloads = self._make(
                self._workspace_id,
                report=report,
                failed=self._failed,
                keeps_going=self._keeps_going,
                failed_file=self._note_failed,
            )
            self._downloads.start()

    def finish(self) -> None:
        """Returns when all that is staged is stored; raises the first error."""
        while self._downloads is not None:
            try:
                self._downloads.finish()
            except DatabaseUnavailableError as error:
                # The stream has ended well: a moment without the database is no reason to repeat
                # it. What is staged and stored is known, so the downloads go on where they were.
                if self._is_stopped:
                    raise
                log.warning("attempt.downloads_interrupted", error=error.message)
                time.sleep(_RETRY_SECONDS)
                self.begin(keeps_going=self._keeps_going)
            else:
                return

    def raise_failure(self) -> None:
        """Raises why one cannot be had, if one cannot."""
        if self._downloads is not None:
            self._downloads.finish()

    def stop(self) -> None:
        """Ends them without waiting for that; none begins any more."""
        with self._lock:
            self._is_stopped = True
            downloads = self._downloads
        if downloads is not None:
            threading.Thread(target=downloads.cancel, daemon=True).start()

    def end(self) -> None:
        """Ends what is under way."""
        if self._downloads is not None:
            self._downloads.cancel()

    def _note_failed(self, failed: FailedFile) -> None:
        error = failed.error
        self._progress.fail(
            failure_of_file(failed.unit, failed.relative_path, failed.url, error), error
        )
