"""One program of an installation: started, started again at once when it dies, held down."""

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from entrepot_cli.command import Command
from polling import until
from process import Process

_READY = re.compile(r"ready (\S+)")


class Program:
    """A program under supervision. Unlike `entrepot up`, this starts it again without a pause.

    Args:
        name: What its log is called.
        prepare: Makes the command, before every start.
        log: Where its lines go.
        on_ready: Called with its address whenever it says that it serves.
    """

    def __init__(
        self,
        name: str,
        prepare: Callable[[], Command],
        log: Path,
        on_ready: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.name = name
        self.log = log
        self.starts = 0
        self.ready = threading.Event()
        self._prepare = prepare
        self._on_ready = on_ready
        self._process: subprocess.Popen[bytes] | None = None
        self._may_run = threading.Event()
        self._may_run.set()
        self._stopping = threading.Event()
        # To the kernel the thread that starts a program is its parent, so it lives as long.
        self._thread = threading.Thread(target=self._supervise, name=name, daemon=True)

    @property
    def pid(self) -> int:
        """Its process; 0 while there is none."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else 0

    def start(self) -> None:
        """Start it, without waiting."""
        self._thread.start()

    def send(self, number: signal.Signals) -> bool:
        """Send it a signal; False if it does not run."""
        pid = self.pid
        if not pid:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            return True
        return False

    def kill(self) -> bool:
        """Kill it, and return when it is gone; False if it did not run."""
        pid = self.pid
        if not self.send(signal.SIGKILL):
            return False
        gone = Process(pid, 0, (self.name,))
        until(lambda: not gone.is_there(), f"the end of {self.name}")
        return True

    def hold_down(self) -> None:
        """Kill it, and do not start it again before `let_up`."""
        self._may_run.clear()
        self.kill()

    def let_up(self) -> None:
        """Start it again."""
        self._may_run.set()

    def stop(self, request: signal.Signals, seconds: float = 20) -> None:
        """End it for good: asked first, then forced."""
        self._stopping.set()
        self._may_run.set()
        self.send(signal.SIGCONT)
        self.send(request)
        self._thread.join(seconds)
        self.send(signal.SIGKILL)
        self._thread.join(5)

    def _supervise(self) -> None:
        with self.log.open("ab", buffering=0) as log:
            while not self._stopping.is_set():
                self._may_run.wait()
                if self._stopping.is_set():
                    return
                self._live(log)

    def _live(self, log: object) -> None:
        command = self._prepare()
        self.ready.clear()
        self._process = process = command.start(subprocess.PIPE)
        self.starts += 1
        if self._stopping.is_set():
            process.kill()
        assert process.stdout is not None
        with process.stdout as stream:
            for line in stream:
                log.write(line)  # type: ignore[attr-defined]
                if found := _READY.fullmatch(line.decode(errors="replace").strip()):
                    self._tell(found[1])
        process.wait()
        # What it started goes with it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)

    def _tell(self, address: str) -> None:
        def tell() -> None:
            self._on_ready(address)
            self.ready.set()

        threading.Thread(target=tell, name=f"{self.name}-ready", daemon=True).start()
