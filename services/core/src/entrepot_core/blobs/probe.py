"""Whether the store for blobs works, found out before somebody needs it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from entrepot_core.domain.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BELIEVED_SECONDS", "PATIENCE_SECONDS", "StoreProbe"]

# However often somebody asks, the store is asked no more often than this.
BELIEVED_SECONDS = 10.0
# Whoever asks waits no longer than this for a store that does not answer.
PATIENCE_SECONDS = 3.0


class StoreProbe:
    """Asks the store in a thread of its own and remembers what came of it.

    Args:
        ask: Raises ServiceError, OSError or ValueError if the store does not work.
    """

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._asked_at: float | None = None
        self._answered = threading.Event()
        self._fault = ""

    def fault(self) -> str:
        """What is wrong, in a sentence; empty if nothing is. Returns soon, whatever happens."""
        with self._lock:
            now = time.monotonic()
            is_old = self._asked_at is None or now - self._asked_at > BELIEVED_SECONDS
            if is_old and (self._asked_at is None or self._answered.is_set()):
                self._asked_at = now
                self._answered.clear()
                threading.Thread(target=self._run, name="store-probe", daemon=True).start()
            began = self._asked_at or now
        if self._answered.wait(PATIENCE_SECONDS):
            return self._fault
        return f"It has not answered for {time.monotonic() - began:.0f} s."

    def _run(self) -> None:
        try:
            self._ask()
        except (ServiceError, OSError, ValueError) as error:
            self._fault = str(error)
        else:
            self._fault = ""
        finally:
            self._answered.set()
