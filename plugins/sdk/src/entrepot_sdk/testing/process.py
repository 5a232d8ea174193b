"""A plugin as a process of its own, started, watched and ended by a test."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

__all__ = ["PluginProcess"]

_START_SECONDS = 30.0
_END_SECONDS = 10.0


class PluginProcess:
    """Runs while entered.

    The command must listen where ENTREPOT_PLUGIN_LISTEN says, find core where ENTREPOT_GRPC says,
    print `ready <address>` as its first line, and end on SIGTERM.

    Args:
        command: What to start.
        core: The address of core.
        environment: Variables beside those of this process.
        listen: Where it is to listen.
    """

    def __init__(
        self,
        command: Sequence[str],
        core: str,
        *,
        environment: Mapping[str, str] | None = None,
        listen: str = "127.0.0.1:0",
    ) -> None:
        self._command = command
        self._environment = {
            **os.environ,
            **(environment or {}),
            "ENTREPOT_GRPC": core,
            "ENTREPOT_PLUGIN_LISTEN": listen,
        }
        self._process: subprocess.Popen[str] | None = None
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  closed on exit
        self.address = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        # A plugin that says nothing must not hang the test.
        timer = threading.Timer(_START_SECONDS, self._process.kill)
        timer.start()
        line = self._process.stdout.readline() if self._process.stdout else ""
        timer.cancel()
        word, _, self.address = line.strip().partition(" ")
        if word != "ready":
            self.kill()
            raise RuntimeError(f"the plugin did not start: {line!r}\n{self.logs()}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.terminate()
        try:
            self.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        if self._process is not None and self._process.stdout:
            self._process.stdout.close()
        self._log.close()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._running.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._running.poll() is None

    def terminate(self) -> None:
        """Asks it to end."""
        if self.is_running:
            self._running.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it, whatever it does."""
        self._running.kill()
        self._running.wait()

    def wait(self, seconds: float = _END_SECONDS) -> int:
        """Its exit status, as soon as it has ended."""
        return self._running.wait(seconds)

    def logs(self) -> str:
        """What it has written to its standard error."""
        with os.fdopen(os.dup(self._log.fileno()), encoding="utf-8", errors="replace") as log:
            log.seek(0)
            return log.read()

    @property
    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise RuntimeError("the plugin was not started")
        return self._process
