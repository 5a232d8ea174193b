"""Units that failed in a task: how many it bears, and what it fails with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entrepot_sdk.errors import TaskFailed

__all__ = ["FailureCount"]

_MOST_NAMED = 100
_MOST_LEFT_OUT = 10_000


class FailureCount:
    """The failures of one attempt."""

    def __init__(self, *, keeps_going: bool) -> None:
        self._keeps_going = keeps_going
        self._first: TaskFailed | None = None
        self._count = 0

    def add(self, error: TaskFailed) -> None:
        """Counts one. Raises an error if the task is not to go on."""
        self._first = self._first or error
        self._count += 1
        if error.retryable and not self._keeps_going:
            raise error
        if self._count >= (_MOST_LEFT_OUT if self._keeps_going else _MOST_NAMED):
            raise self._first

    def check(self) -> None:
        """At the end. Raises the first error unless the task keeps going."""
        if self._first is not None and not self._keeps_going:
            raise self._first
