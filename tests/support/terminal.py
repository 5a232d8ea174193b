"""A program on a terminal: what it shows a person, and keys that the person presses."""

import os
import pty
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

CONTROL_C = b"\x03"


class Terminal:
    """Runs a program with a terminal of its own as its standard streams."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.shown = ""
        controller, terminal = pty.openpty()
        self._controller = controller
        try:
            self._process = subprocess.Popen(
                # Its own session, with the terminal as the one whose keys send signals.
                ["setsid", "--ctty", *command],
                stdin=terminal,
                stdout=terminal,
                stderr=terminal,
                env={"TERM": "xterm", **environment},
            )
        finally:
            os.close(terminal)

    def expect(self, text: str, seconds: float = 60) -> None:
        """Return as soon as the program has shown this text."""
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            assert self._read(deadline - time.monotonic()), f"{text!r} is not in:\n{self.shown}"

    def press(self, keys: bytes) -> None:
        """Press some keys."""
        os.write(self._controller, keys)

    def end(self, seconds: float = 60) -> int:
        """Wait until the program has ended; returns its exit code."""
        deadline = time.monotonic() + seconds
        while self._read(deadline - time.monotonic()):
            continue
        return self._process.wait(max(1, deadline - time.monotonic()))

    def _read(self, seconds: float) -> bool:
        readable, _, _ = select.select([self._controller], [], [], max(0, seconds))
        if not readable:
            return False
        try:
            data = os.read(self._controller, 65536)
        except OSError:
            # Nobody has the other end any more.
            return False
        self.shown += data.decode("utf-8", "replace")
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(60)
        os.close(self._controller)
