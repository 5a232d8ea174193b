"""Memory that starting a process took, and running it does not need."""

from __future__ import annotations

import ctypes
import gc

__all__ = ["give_back"]


def give_back() -> None:
    """Collects garbage, and returns free memory to the system where glibc keeps it.

    What is left stays for as long as the process, so that later collections pass it over.

    To be called once, when a process has started: imports and first calls need more than it
    does from then on.
    """
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
