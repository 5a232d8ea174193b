"""Lets the latest value of each progress through, at most twice a second.

`record` may be called from any thread and as often as one likes; the rest lives in the server's
loop.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from entrepot.type.v1.progress_pb2 import Progress

__all__ = ["Throttle"]

_SECONDS_BETWEEN = 0.5


class Throttle:
    """Emits progress: the first value of a code at once, the last one always."""

    def __init__(self, loop: asyncio.AbstractEventLoop, emit: Callable[[Progress], None]) -> None:
        self._loop = loop
        self._emit = emit
        self._lock = threading.Lock()
        self._pending: dict[str, Progress] = {}
        self._emitted_at: dict[str, float] = {}

    def record(self, progress: Progress) -> None:
        """Takes a value, which replaces an earlier one of the same code."""
        with self._lock:
            is_scheduled = progress.code in self._pending
            self._pending[progress.code] = progress
        if not is_scheduled:
            self._loop.call_soon_threadsafe(self._schedule, progress.code)

    def flush(self) -> None:
        """Emits what is still held back."""
        for code in list(self._pending):
            self._let_through(code)

    def _schedule(self, code: str) -> None:
        due = self._emitted_at.get(code, float("-inf")) + _SECONDS_BETWEEN
        if due <= self._loop.time():
            self._let_through(code)
        else:
            self._loop.call_at(due, self._let_through, code)

    def _let_through(self, code: str) -> None:
        with self._lock:
            progress = self._pending.pop(code, None)
        if progress is not None:
            self._emitted_at[code] = self._loop.time()
            self._emit(progress)
