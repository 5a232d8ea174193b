"""The downloads of an attempt: what its plugin stages is fetched while it still stages."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_core.domain.blob import Expected
from entrepot_core.domain.errors import (
    AddressForbiddenError,
    CanceledError,
    DatabaseUnavailableError,
    DigestMismatchError,
    DownloadFailedError,
    ServiceError,
    SizeMismatchError,
)
from entrepot_core.downloads.group import DownloadGroup
from entrepot_core.downloads.request import Download, Source
from entrepot_core.store import labels, wanted
from entrepot_rpc import correlation

if TYPE_CHECKING:
    from collections.abc import Callable

    from entrepot_core.downloads.downloader import Downloader
    from entrepot_core.downloads.group import Finished
    from entrepot_core.downloads.keeper import Keeper
    from entrepot_core.downloads.remote import Remotes
    from entrepot_core.store.database import Cursor
    from entrepot_core.store.sources import SourcedFile
    from entrepot_core.store.wanted import WantedFile

__all__ = ["AttemptDownloads", "DownloadProgress", "FailedFile", "download_of"]

# Staging calls that are looked at in one step, and downloads under way: both bound the memory.
CALLS = 4
UNDER_WAY = 500
# How long a finished download waits for others to share a sync with.
LINGER_SECONDS = 0.25
# It looks for what was staged since: soon at first, as nothing can be fetched before.
FIRST_LOOK_SECONDS, LOOK_SECONDS = 0.04, 0.2
# With so many files that failed it gives up: enough to see what is wrong, or that everything is.
MOST_NAMED = 100
MOST_LEFT_OUT = 10_000

# What is the matter with one file, and not with us.
_OF_ONE_FILE = (
    DownloadFailedError,
    DigestMismatchError,
    SizeMismatchError,
    AddressForbiddenError,
)


@dataclass(frozen=True, slots=True)
class DownloadProgress:
    """How far it is: files that are stored of those that are known to be wanted, and bytes."""

    files: int
    wanted_files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class FailedFile:
    """A file of a staged unit that could not be had."""

    unit: str
    relative_path: str
    url: str
    error: ServiceError


class AttemptDownloads:
    """Fetches what a workspace stages. Verified bytes stay, whatever becomes of the task.

    Args:
        keeper: Where the bytes go.
        downloader: Who fetches them.
        remotes: Where from.
        workspace_id: Whose staged units.
        report: Told of the progress, from a thread of its own.
        failed: Called once when it cannot succeed any more; `finish` says why.
        keeps_going: A file that fails is told of and left out, up to MOST_LEFT_OUT of them.
            Without, all are tried all the same, up to MOST_NAMED that fail, so that they can be
            named; but one whose failure may pass ends everything at once.
        failed_file: Told of each file that fails, from a thread of its own.
    """

    def __init__(
        self,
        keeper: Keeper,
        downloader: Downloader,
        remotes: Remotes,
        workspace_id: int,
        report: Callable[[DownloadProgress], None] = lambda _: None,
        failed: Callable[[], None] = lambda: None,
        *,
        keeps_going: bool = False,
        failed_file: Callable[[FailedFile], None] = lambda _: None,
    ) -> None:
        self._keeper = keeper
        self._downloader = downloader
        self._remotes = remotes
        self._workspace_id = workspace_id
        self._report = report
        self._failed = failed
        self._keeps_going = keeps_going
        self._failed_file = failed_file
        self._first_error: ServiceError | None = None
        self._left_out: list[int] = []
        self._is_last_look = threading.Event()
        self._is_canceled = threading.Event()
        self._error: BaseException | None = None
        self._files = self._wanted_files = self._bytes = 0
        # The staging calls that were looked at: each is looked at once.
        self._seen: set[int] = set()
        # What is under way, by digest or else by unit and path: the same bytes are fetched once,
        # and those who want them too have their turn if they cannot be had there.
        self._pending: dict[bytes | tuple[int, str], list[WantedFile]] = {}
        self._group: DownloadGroup[WantedFile] = DownloadGroup(keeper, downloader, workspace_id)
        self._thread = threading.Thread(
            target=correlation.inheriting(self._run), name="attempt-downloads", daemon=True
        )

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    @property
    def error(self) -> BaseException | None:
        """Why it cannot succeed any more; None while it can."""
        return self._error

    def finish(self) -> None:
        """Returns when all that is staged is stored; nothing may be staged any more.

        Raises the first ServiceError; of a DownloadFailedError, `retryable` says whether it may
        pass. With `keeps_going`, `left_out` then says what is missing.
        """
        self._is_last_look.set()
        self._group.wake()
        self._thread.join()
        if self._error is not None:
            raise self._error

    @property
    def left_out(self) -> tuple[int, ...]:
        """The units with a file that could not be had."""
        return tuple(dict.fromkeys(self._left_out))

    def cancel(self) -> None:
        """Ends what is under way, and returns when it has ended."""
        self._is_canceled.set()
        self._group.wake()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            with self._group:
                try:
                    self._fetch_all()
                finally:
                    # What is verified is kept, so that the next attempt has less to do. Nothing
                    # goes on meanwhile: it would come too late, and be fetched again.
                    self._group.cancel()
                    with suppress(ServiceError):
                        while self._group.collect(0, also=_identify):
                            pass
        except BaseException as error:  # noqa: BLE001  raised by finish, in the thread that asks
            self._error = error
            # A database that is away is no verdict: what waits for it may still succeed.
            if not self._is_canceled.is_set() and not isinstance(error, DatabaseUnavailableError):
                self._failed()

    def _fetch_all(self) -> None:
        patience = FIRST_LOOK_SECONDS
        while True:
            is_last = self._is_last_look.is_set()
            self._look()
            if is_last:
                while self._group:
                    self._collect(None)
                if self._first_error is not None and not self._keeps_going:
                    raise self._first_error
                return
            self._wait(patience)
            patience = min(LOOK_SECONDS, 1.5 * patience)

    def _look(self) -> None:
        """Begins to fetch what was staged since the last look and is not here."""
        while True:
            with self._keeper.database.transaction() as cursor:
                calls = wanted.new_calls(cursor, self._workspace_id, self._seen, CALLS)
                units = [content_id for _, content_ids in calls for content_id in content_ids]
                files = wanted.find_wanted(cursor, self._workspace_id, units)
            for file in files:
                self._begin(file)
            self._seen.update(sequence for sequence, _ in calls)
            if not calls:
                return

    def _begin(self, file: WantedFile) -> None:
        key = _key(file)
        if key in self._pending:
            self._pending[key].append(file)
            return
        while len(self._group) >= UNDER_WAY:
            self._collect(None)
        self._pending[key] = []
        self._wanted_files += 1
        self._group.submit(file, download_of(file, self._remotes))

    def _wait(self, seconds: float) -> None:
        """Takes what finishes, until it is time to look again."""
        deadline = time.monotonic() + seconds
        while not self._is_last_look.is_set():
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._collect(left)

    def _collect(self, timeout: float | None) -> None:
        finished = self._group.collect(timeout, linger=LINGER_SECONDS, also=_identify)
        if self._is_canceled.is_set():
            raise CanceledError("The downloads were canceled.")
        for one in finished:
            others = self._pending.pop(_key(one.key))
            if one.error is not None:
                self._fail(one.key, one.error)
                for other in others:
                    self._begin(other)
                continue
            self._files += 1
            if one.fetched is not None and one.fetched.blob is not None:
                self._bytes += one.fetched.blob.size_bytes
        if finished:
            self._report(DownloadProgress(self._files, self._wanted_files, self._bytes))

    def _fail(self, file: WantedFile, error: BaseException) -> None:
        if not isinstance(error, _OF_ONE_FILE):
            raise error
        self._left_out.append(file.content_id)
        self._first_error = self._first_error or error
        with self._keeper.database.transaction() as cursor:
            unit = labels.names(cursor, [file.content_id]).get(file.content_id, "")
        url = file.sources[0].url if file.sources else ""
        self._failed_file(FailedFile(unit, file.relative_path, url, error))
        most = MOST_LEFT_OUT if self._keeps_going else MOST_NAMED
        may_pass = isinstance(error, DownloadFailedError) and error.retryable
        if len(self._left_out) >= most or (may_pass and not self._keeps_going):
            raise self._first_error if len(self._left_out) >= most else error


def download_of(file: WantedFile | SourcedFile, remotes: Remotes) -> Download:
    """How a file is fetched."""
    digests = [(name, bytes.fromhex(text)) for name, text in sorted(file.other_digests.items())]
    if file.sha256 is not None:
        digests.insert(0, ("sha256", file.sha256))
    return Download(
        tuple(
            Source(source.url, remotes.get(source.remote_id, source.revision))
            for source in file.sources
        ),
        Expected(tuple(digests), file.size_bytes),
        unit=file.relative_path,
    )


def _key(file: WantedFile) -> bytes | tuple[int, str]:
    return file.sha256 or (file.content_id, file.relative_path)


def _identify(cursor: Cursor, finished: list[Finished[WantedFile]]) -> None:
    found = [
        (one.key.content_id, one.key.relative_path, one.fetched.blob)
        for one in finished
        if one.fetched is not None
        and one.fetched.blob is not None
        and (one.key.sha256 is None or one.key.size_bytes is None)
    ]
    if found:
        wanted.identify(cursor, found)
