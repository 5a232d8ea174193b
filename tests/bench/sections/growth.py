"""How memory grows with the number of units of a sync: it should not."""

import threading
from collections.abc import Callable, Iterator

from figure import Figure, timed
from process import proportional_bytes
from setting import listed_repository
from size import MIB, Size
from stack import Stack
from target import at_most

__all__ = ["growth"]

_ROLES = ("api", "dispatch", "plugin")
_LOOK_SECONDS = 0.2


def growth(stack: Stack, size: Size) -> Iterator[Figure]:
    """Memory of core and the plugin over what it is when idle, at its highest."""
    del stack
    with Stack() as own:
        pids = [own.process(role).pid for role in _ROLES]
        idle = _memory(pids)
        smallest: Figure | None = None
        for units in size.growth:
            figure = Figure(f"memory for a sync of {units:,} files, over idle (PSS)", "MiB")
            seconds = Figure(f"  its time, {units:,} files on demand", "s")
            figure.target = at_most(150, "MiB")
            peak = _Peak(pids)
            with peak:
                seconds.samples.append(timed(_sync(own, units)))
            figure.samples.append(peak.highest - idle)
            if smallest is None:
                smallest = figure
            else:
                figure.floor = smallest.samples
                figure.floor_is = f"the same with {size.growth[0]:,} files"
            yield figure
            yield seconds
        own.settle()


def _sync(stack: Stack, units: int) -> Callable[[], object]:
    return lambda: listed_repository(stack, units)


class _Peak:
    """Looks at memory until it is left."""

    def __init__(self, pids: list[int]) -> None:
        self.highest = 0.0
        self._pids = pids
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self.highest = max(self.highest, _memory(self._pids))
            if self._stopped.wait(_LOOK_SECONDS):
                return


def _memory(pids: list[int]) -> float:
    return sum(proportional_bytes(pid) for pid in pids) / MIB
