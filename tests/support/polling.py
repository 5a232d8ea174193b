"""Waiting with a deadline, for what gives no signal."""

import time
from collections.abc import Callable
from threading import Event
from typing import Literal, TypeVar

PAUSE_SECONDS = 0.02

T = TypeVar("T")


def until(ask: Callable[[], T | Literal[False] | None], what: str, seconds: float = 60) -> T:
    """What `ask` answers, as soon as it is neither None nor False; fails at the deadline."""
    deadline = time.monotonic() + seconds
    pause = Event()
    while True:
        answer = ask()
        if answer is not None and answer is not False:
            return answer
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        pause.wait(PAUSE_SECONDS)
