"""Clocks that are wrong: each program lives at a time of its own, by Debian's faketime."""

import random
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("api", "dispatch-1", "dispatch-2", "plugin", "gateway", "content")
OFFSETS = ("-1d", "-1h", "+1h", "+1d")


def library() -> Path | None:
    """What a program loads first so that it sees another time; None if it is not installed."""
    return next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


def wrong(dice: random.Random) -> Iterator[tuple[str, str]]:
    """Half of the programs, and by how much the clock of each is wrong."""
    for name in dice.sample(PROGRAMS, len(PROGRAMS) // 2):
        yield name, dice.choice(OFFSETS)


def environment(offset: str) -> dict[str, str]:
    """What has a program see the time so much before or after."""
    preloaded = library()
    assert preloaded is not None, "install faketime"
    # What lasts is measured with another clock, which no host sets.
    return {
        "LD_PRELOAD": str(preloaded),
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "PYTHONPATH": str(Path(__file__).parent / "skewed"),
    }
