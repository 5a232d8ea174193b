"""What running attempts say, written to the database at most twice a second for each."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot.type.v1 import diagnostic_pb2, progress_pb2
from entrepot_core.dispatch.log_lines import LogLines
from entrepot_core.dispatch.pace import Pace
from entrepot_core.dispatch.unit_failures import UnitFailures
from entrepot_core.store import queue, task_failures, task_logs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from entrepot.type.v1 import log_line_pb2, unit_failure_pb2
    from entrepot_core.domain.errors import ServiceError
    from entrepot_core.store.database import Cursor
    from entrepot_core.store.task_logs import Line

__all__ = ["PROGRESS_SECONDS", "AttemptProgress"]

PROGRESS_SECONDS = 0.5

_MAX_COUNTERS = 50
_MAX_WARNINGS = 1_000
_MAX_TEXT = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """What is being written, and is told for good once that is committed."""

    counters: Sequence[bytes]
    warnings: list[diagnostic_pb2.Diagnostic]
    lines: list[Line]
    first_failure: int
    failures: list[bytes]
    failure_count: int
    unchanged_reason: str
    forgets: bool


class AttemptProgress:
    """What one attempt says: counters, of which the latest of a code wins, lines, failures.

    It is written in turns, so that what is older never replaces what is newer.
    """

    def __init__(self, task_id: str, attempt: int) -> None:
        self.task_id = task_id
        self.attempt = attempt
        self.failures = UnitFailures()
        self.unchanged_reason = ""
        self._log_lines = LogLines(attempt)
        # What an attempt before said of failures does not hold any more.
        self._forgets = attempt > 1
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._taken: _Taken | None = None
        self._counters: dict[str, progress_pb2.Progress] = {}
        self._paces: dict[str, Pace] = {}
        self._warnings: list[diagnostic_pb2.Diagnostic] = []
        self._warned = 0
        self._is_changed = self._forgets
        self._written = 0.0

    @property
    def counters(self) -> list[progress_pb2.Progress]:
        """The latest of each code, in the order in which they first came."""
        with self._lock:
            return list(self._counters.values())

    def count(self, progress: progress_pb2.Progress) -> None:
        """Takes a counter; one too many is dropped, and one that cannot be is put right.

        There is nothing below zero, and no total below what is done.
        """
        with self._lock:
            if progress.code not in self._counters and len(self._counters) >= _MAX_COUNTERS:
                return
            kept = progress_pb2.Progress(
                code=progress.code[:_MAX_TEXT],
                message=progress.message[:_MAX_TEXT],
                done=max(0, progress.done),
                unit=progress.unit,
            )
            if progress.HasField("total"):
                kept.total = max(kept.done, progress.total)
                kept.remaining = kept.total - kept.done
            pace = self._paces.setdefault(progress.code, Pace())
            pace.take(kept, time.monotonic(), time.time())
            self._counters[progress.code] = kept
            self._is_changed = True

    def warn(self, warning: diagnostic_pb2.Diagnostic) -> None:
        """Takes a warning; of very many only the first are kept."""
        with self._lock:
            self._warned += 1
            if self._warned > _MAX_WARNINGS:
                return
            kept = diagnostic_pb2.Diagnostic()
            kept.CopyFrom(warning)
            kept.severity = diagnostic_pb2.Diagnostic.SEVERITY_WARNING
            kept.message = kept.message[:_MAX_TEXT]
            self._warnings.append(kept)
            self._is_changed = True

    def log(self, line: log_line_pb2.LogLine) -> None:
        """Takes a line for people."""
        with self._lock:
            self._log_lines.add(line)
            self._is_changed = True

    def fail(
        self, failure: unit_failure_pb2.UnitFailure, error: ServiceError | None = None
    ) -> None:
        """Takes a unit that failed."""
        with self._lock:
            self.failures.add(failure, error)
            self._is_changed = True

    def unchanged(self, reason: str) -> None:
        """Takes why there was nothing to do."""
        with self._lock:
            self.unchanged_reason = reason
            self._is_changed = True

    def is_due(self) -> bool:
        """Whether there is something to write, and it is time."""
        return self._is_changed and time.monotonic() - self._written >= PROGRESS_SECONDS

    @contextmanager
    def turn(self, *, waits: bool = True) -> Iterator[bool]:
        """Nobody else writes until the block is over, which commits what it writes.

        If it raises, nothing of that counts as written. False, instead of to wait, if somebody
        else writes.
        """
        if not self._turn.acquire(blocking=waits):
            yield False
            return
        try:
            yield True
        except BaseException:
            self._put_back()
            raise
        finally:
            self._taken = None
            self._turn.release()

    def write(self, cursor: Cursor, *, waits: bool = True) -> bool:
        """Writes what is new, in a turn; False if nothing is, or another attempt owns the task.

        Without waiting also if somebody holds the workspace: it may be about to end.
        """
        # The transaction is run again.
        self._put_back()
        taken = self._take()
        if taken is None:
            return False
        is_written = queue.write_progress(
            cursor,
            self.task_id,
            self.attempt,
            taken.counters,
            [one.SerializeToString() for one in taken.warnings],
            failures=taken.failure_count,
            unchanged_reason=taken.unchanged_reason,
            waits=waits,
        )
        if not is_written:
            self._put_back()
            return False
        if taken.forgets:
            task_failures.forget(cursor, self.task_id)
        if taken.lines:
            task_logs.write(cursor, self.task_id, taken.lines)
        if taken.failures:
            task_failures.write(cursor, self.task_id, taken.first_failure, taken.failures)
        return True

    def _take(self) -> _Taken | None:
        with self._lock:
            if not self._is_changed:
                return None
            warnings, self._warnings = self._warnings, []
            first, failures = self.failures.take()
            forgets, self._forgets = self._forgets, False
            self._is_changed = False
            self._written = time.monotonic()
            self._taken = _Taken(
                counters=[one.SerializeToString() for one in self._counters.values()],
                warnings=warnings,
                lines=self._log_lines.take(),
                first_failure=first,
                failures=failures,
                failure_count=self.failures.count,
                unchanged_reason=self.unchanged_reason,
                forgets=forgets,
            )
            return self._taken

    def _put_back(self) -> None:
        with self._lock:
            taken, self._taken = self._taken, None
            if taken is None:
                return
            self._warnings = taken.warnings + self._warnings
            self._log_lines.put_back(taken.lines)
            self.failures.put_back(taken.failures)
            self._forgets = self._forgets or taken.forgets
            self._is_changed = True
