"""The word of a process that it serves, for whoever started it."""

from __future__ import annotations

import sys

__all__ = ["say_ready"]


def say_ready(address: str) -> None:
    """Writes `ready <address>`, a line of its own also where the log goes to the same pipe.

    In one piece: of what `print` writes in two, a line of another thread can come between.
    """
    sys.stdout.write(f"ready {address}\n")
    sys.stdout.flush()
