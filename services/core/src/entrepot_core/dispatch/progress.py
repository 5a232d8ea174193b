"""What running attempts say, written to the database at most twice a second for each."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from entrepot.type.v1 import diagnostic_pb2, progress_pb2
from entrepot_core.dispatch.pace import Pace
from entrepot_core.store import queue

if TYPE_CHECKING:
    from entrepot_core.store.database import Cursor

__all__ = ["PROGRESS_SECONDS", "AttemptProgress"]

PROGRESS_SECONDS = 0.5

_MAX_COUNTERS = 50
_MAX_WARNINGS = 1_000
_MAX_TEXT = 2_000


class AttemptProgress:
    """The counters and warnings of one attempt. The latest counter of a code wins."""

    def __init__(self, task_id: str, attempt: int) -> None:
        self.task_id = task_id
        self.attempt = attempt
        self._lock = threading.Lock()
        self._counters: dict[str, progress_pb2.Progress] = {}
        self._paces: dict[str, Pace] = {}
        self._warnings: list[diagnostic_pb2.Diagnostic] = []
        self._warned = 0
        self._is_changed = False
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

    def is_due(self) -> bool:
        """Whether there is something to write, and it is time."""
        return self._is_changed and time.monotonic() - self._written >= PROGRESS_SECONDS

    def write(self, cursor: Cursor) -> bool:
        """Writes what is new; False if nothing is, or the attempt is about to end."""
        with self._lock:
            if not self._is_changed:
                return False
            counters = [one.SerializeToString() for one in self._counters.values()]
            warnings, self._warnings = self._warnings, []
            self._is_changed = False
            self._written = time.monotonic()
        is_written = queue.write_progress(
            cursor,
            self.task_id,
            self.attempt,
            counters,
            [one.SerializeToString() for one in warnings],
        )
        if not is_written:
            with self._lock:
                self._warnings = warnings + self._warnings
                self._is_changed = True
        return is_written
