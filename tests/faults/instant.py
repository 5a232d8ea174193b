"""A failpoint of a running installation: armed, fired by one process, released."""

import time
from pathlib import Path

from polling import until


class Instant:
    """One failpoint, armed once.

    Args:
        folder: Where failpoints are armed.
        name: Which one.
        action: What the first process that comes by does.
        word: With which its command has to end; empty: any.
    """

    def __init__(self, folder: Path, name: str, action: str, word: str = "") -> None:
        self.name = name
        self.action = action
        self.fired_at = 0.0
        self.pid = 0
        self._folder = folder
        self._armed = folder / (f"{name}.{word}.armed" if word else f"{name}.armed")

    def arm(self) -> None:
        """From now on the first to come does it."""
        for left in self._folder.glob(f"{self.name}.*"):
            left.unlink(missing_ok=True)
        made = self._folder / f".{self.name}"
        made.write_text(self.action)
        made.rename(self._armed)

    def has_fired(self) -> bool:
        """Say whether somebody has come by; `pid` says who."""
        if not self.pid:
            for taken in self._folder.glob(f"{self.name}.[0-9]*"):
                self.pid = int(taken.suffix[1:])
                self.fired_at = time.time()
        return bool(self.pid)

    def wait(self, seconds: float) -> bool:
        """Return when it has fired, or after the time."""
        try:
            until(self.has_fired, self.name, seconds)
        except AssertionError:
            return False
        return True

    def release(self) -> None:
        """Let go whoever holds at it; nobody fires it any more."""
        for left in self._folder.glob(f"{self.name}.*"):
            left.unlink(missing_ok=True)
        self.has_fired()
