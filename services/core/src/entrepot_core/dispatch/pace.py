"""How fast a counter grows, and when it will be done if it goes on like that."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entrepot.type.v1 import progress_pb2

__all__ = ["WINDOW_SECONDS", "Pace"]

WINDOW_SECONDS = 30.0
"""What is said of the rate is said of so long a time."""

_SAMPLE_SECONDS = 1.0
_LEAST_SECONDS = 0.5
# Nobody waits for longer than a year.
_FARTHEST_SECONDS = 365 * 86_400.0


class Pace:
    """The pace of one counter, from what it said at which time."""

    def __init__(self) -> None:
        # Time and count, oldest first, at most one a second.
        self._samples: deque[tuple[float, int]] = deque()
        self._last = -1
        self._changed_at = 0.0

    def take(self, progress: progress_pb2.Progress, now: float, clock: float) -> None:
        """Completes what a counter says by its rate, when it moved, and the end to expect.

        Args:
            progress: What it says; it is changed.
            now: Seconds by a clock that only goes forward.
            clock: The time, in seconds since 1970.
        """
        samples = self._samples
        if progress.done < self._last:
            # It counts anew.
            samples.clear()
        if progress.done != self._last:
            self._last = progress.done
            self._changed_at = clock
        if not samples or now - samples[-1][0] >= _SAMPLE_SECONDS:
            samples.append((now, progress.done))
        while len(samples) > 1 and now - samples[0][0] > WINDOW_SECONDS:
            samples.popleft()
        progress.change_time.FromNanoseconds(int(self._changed_at * 1e9))
        began, first = samples[0]
        if now - began < _LEAST_SECONDS or progress.done <= first:
            return
        progress.rate = (progress.done - first) / (now - began)
        left = progress.remaining / progress.rate
        if progress.remaining and left < _FARTHEST_SECONDS:
            progress.estimated_end_time.FromNanoseconds(int((clock + left) * 1e9))
