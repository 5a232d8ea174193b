"""One line of the result: what was measured, beside its floor in the same run."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from target import Target


@dataclass
class Figure:
    """A measurement with all its samples, and those of the floor.

    Args:
        what: What was done.
        unit: "ms", "s", "MiB", or a rate, where more is better.
        floor_is: What the floor is.
        target: What it must reach, if anything was promised.
        section: Where it belongs.
    """

    what: str
    unit: str
    samples: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)
    floor_is: str = ""
    digits: int = 1
    # Which quantile is shown: 0.5 is the median.
    quantile: float = 0.5
    target: Target | None = None
    section: str = ""

    @property
    def value(self) -> float:
        """The median, or another quantile."""
        return quantile(self.samples, self.quantile)

    @property
    def floor_value(self) -> float | None:
        """The same of the floor."""
        return quantile(self.floor, self.quantile) if self.floor else None

    @property
    def ratio(self) -> float | None:
        """How many times the floor it is; None if there is no floor, or it is nothing.

        Where both were measured by turns it is the median of the turns: a machine that is shared
        gets slower and faster, and two samples of one turn at least saw the same machine.
        """
        if not self.floor_value:
            return None
        if self.quantile != 0.5 or len(self.samples) != len(self.floor):
            return self.value / self.floor_value
        turns = zip(self.samples, self.floor, strict=True)
        return statistics.median(sample / floor for sample, floor in turns)

    @property
    def is_met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        return None if self.target is None else self.target.is_met(self.value, self.ratio)

    def row(self) -> tuple[str, ...]:
        """The cells of its line."""
        floor = self.floor_value
        spread = (
            f"{min(self.samples):.{self.digits}f}–{max(self.samples):.{self.digits}f}"
            if len(self.samples) > 1
            else ""
        )
        return (
            self.what,
            f"{self.value:.{self.digits}f} {self.unit}",
            spread,
            "" if floor is None else f"{floor:.{self.digits}f} {self.unit}",
            "" if self.ratio is None else f"{self.ratio:.2f}",
            "" if self.target is None else self.target.text,
            {None: "", True: "yes", False: "NO"}[self.is_met],
            self.floor_is,
        )

    def as_json(self) -> dict[str, Any]:
        """Everything that is known of it."""
        return {
            "section": self.section,
            "what": self.what,
            "unit": self.unit,
            "digits": self.digits,
            "value": self.value,
            "floor": self.floor_value,
            "ratio": self.ratio,
            "floor_is": self.floor_is,
            "target": None if self.target is None else self.target.text,
            "is_met": self.is_met,
            "quantile": self.quantile,
            "samples": self.samples,
            "floor_samples": self.floor,
        }


def quantile(samples: Sequence[float], part: float) -> float:
    """The median for 0.5; else the smallest sample that so many are not above."""
    if part == 0.5:
        return statistics.median(samples)
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)]


def timed(work: Callable[[], object]) -> float:
    """How many seconds it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def table(figures: Sequence[Figure]) -> str:
    """All figures, one a line."""
    titles = ("", "median", "from–to", "floor", "ratio", "target", "met", "the floor is")
    rows = [titles, *(figure.row() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(titles))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in (0, len(titles) - 1) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
