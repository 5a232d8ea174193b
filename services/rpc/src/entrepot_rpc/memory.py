"""Memory: what starting a process took and running it does not need, and when there is none."""

from __future__ import annotations

import ctypes
import errno
import gc

__all__ = ["give_back", "is_exhausted"]


def give_back() -> None:
    """Collects garbage, and returns free memory to the system where glibc keeps it.

    What is left stays for as long as the process, so that later collections pass it over; and they
    come less often.

    To be called once, when a process has started: imports and first calls need more than it
    does from then on.
    """
    gc.collect()
    gc.freeze()
    # A batch of units is thousands of objects, and none of them garbage: looking for some after
    # every 700 takes a fifth of the time that reading it takes.
    gc.set_threshold(10_000)
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def is_exhausted(error: BaseException | None) -> bool:
    """Whether the process had no memory left, for a thread for instance.

    That says nothing of what it was doing, which another process may be able to do.
    """
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    # Python has no type of its own for the second.
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and "start new thread" in str(error)
    )
