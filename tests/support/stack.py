"""A whole installation, started as a user starts it: `entrepot up` with a home of its own."""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from addresses import free_addresses
from polling import until
from process import Process, processes_of
from rest import Api, Rest
from workspace import ROOT

BIN = ROOT / ".venv" / "bin"
ENTREPOT = BIN / "entrepot"

READY_SECONDS = 120
STOP_SECONDS = 90
SWEEP_SECONDS = 60

# What tells the children of `up` apart: words of their command lines.
ROLES: Mapping[str, tuple[str, ...]] = {
    "api": ("entrepot-core", "api"),
    "dispatch": ("entrepot-core", "dispatch"),
    "gateway": ("entrepot-gateway", "api"),
    "content": ("entrepot-gateway", "content"),
    "plugin": ("entrepot-plugin-file",),
    "postgres": ("postgres", "-D"),
}


class Stack:
    """One installation: start it, talk to it, hurt it, stop it. Nothing of it is left after exit.

    Args:
        environment: Added to that of `up`, and so to that of all its children.
        home: Where its data is; by default a new folder, which goes with the stack.
        arguments: For `up`.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        home: Path | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self._own_home = home is None
        self._arguments = arguments
        self.home = home or Path(tempfile.mkdtemp(prefix="entrepot-"))
        self.http, self.content_address, self.grpc = free_addresses(3)
        self.extra = dict(environment or {})
        self.lines: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._ready = threading.Event()

    # --- what it is

    @property
    def api_url(self) -> str:
        """Origin of the API."""
        return f"http://{self.http}"

    @property
    def content_url(self) -> str:
        """Origin of content."""
        return f"http://{self.content_address}"

    @property
    def token(self) -> str:
        """The token that `up` was given, or made."""
        given = self.extra.get("ENTREPOT_TOKEN")
        return given or (self.home / "token").read_text().strip()

    @property
    def api(self) -> Api:
        """The API, with the token."""
        return Api(self.api_url, self.token)

    @property
    def content(self) -> Rest:
        """The content origin, as package clients see it."""
        return Rest(self.content_url)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of `up`, and of every other command for this installation."""
        kept = {name: value for name, value in os.environ.items() if "ENTREPOT" not in name}
        return kept | {
            "ENTREPOT_HOME": str(self.home),
            "ENTREPOT_HTTP": self.http,
            "ENTREPOT_CONTENT": self.content_address,
            "ENTREPOT_GRPC": self.grpc,
            "NO_COLOR": "1",
            # Commands in guides and in the tutorial call programs by name.
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        }

    @property
    def log(self) -> str:
        """Everything that `up` has printed."""
        return "\n".join(self.lines)

    # --- start and stop

    def start(self) -> Self:
        """Start it, and wait for the line that says it is ready."""
        self.launch()
        until(
            lambda: self._ready.is_set() or self.has_ended(),
            "`entrepot up` to be ready",
            READY_SECONDS,
        )
        assert self._ready.is_set(), f"`entrepot up` ended:\n{self.log}"
        return self

    def launch(self) -> None:
        """Start it, without waiting."""
        self._reap()
        self._ready.clear()
        self._process = subprocess.Popen(
            [ENTREPOT, "up", *self._arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=self.environment | self.extra,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def has_ended(self) -> bool:
        """Say whether `up` has ended."""
        return self._process is None or self._process.poll() is not None

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask `up` to end, wait until it and all its children have, and return its exit code."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            code = self._process.wait(STOP_SECONDS)
            until(lambda: not self.processes(), "all processes to end")
        finally:
            self.kill_all()
        return code

    def kill(self) -> None:
        """Kill `up` itself, without a chance to stop its children."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_SECONDS)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.kill_all()
            self._remove_home()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None and not self.has_ended():
                self.check()
            code = self.stop()
            assert kind is not None or code == 0, f"`up` ended with {code}:\n{self.log[-4000:]}"
        finally:
            self.kill_all()
            self._remove_home()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as stream:
            for line in stream:
                self.lines.append(line.rstrip("\n"))
                if line.startswith("ready http://"):
                    self._ready.set()

    def kill_all(self) -> None:
        """Kill everything of this installation at once, `up` included: each process by its id."""
        for process in self.processes():
            try:
                os.kill(process.pid, signal.SIGCONT)
                os.kill(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        until(lambda: not self.processes(), "everything to be gone")
        self._reap()

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait(STOP_SECONDS)
        if self._reader is not None:
            self._reader.join(STOP_SECONDS)
        self._process = None

    def _remove_home(self) -> None:
        if self._own_home:
            shutil.rmtree(self.home, ignore_errors=True)

    # --- look at it, and hurt it

    def processes(self) -> list[Process]:
        """Everything of this installation that runs."""
        return processes_of(self.home)

    def process(self, role: str, wait: float = 60) -> Process:
        """The first process of a role, as soon as there is one."""
        return until(lambda: next(iter(self._in_role(role)), None), f"a process {role}", wait)

    @contextmanager
    def unattended(self) -> Iterator[None]:
        """Stop `up`, so that what dies meanwhile is only started again afterwards."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _in_role(self, role: str) -> list[Process]:
        words = ROLES[role]
        found = [
            process
            for process in self.processes()
            if process.command
            and all(
                any(Path(argument).name == word for argument in process.command) for word in words
            )
        ]
        pids = {process.pid for process in found}
        return [process for process in found if process.parent not in pids]

    def cli(
        self,
        *arguments: str,
        expect: int | None = 0,
        timeout: float = 90,
        given: str | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run `entrepot` and check its exit code, unless None is expected."""
        done = subprocess.run(
            [ENTREPOT, *arguments],
            capture_output=True,
            text=True,
            env=self.environment | dict(extra or {}),
            timeout=timeout,
            input=given,
            check=False,
        )
        assert expect in (None, done.returncode), (
            f"entrepot {' '.join(arguments)} ended with {done.returncode}:\n"
            f"{done.stdout}\n{done.stderr}"
        )
        return done

    def sh(self, script: str, folder: Path, timeout: float = 120) -> str:
        """Run shell text as a user would, in a folder; returns what it printed."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n---\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def settle(self, seconds: float = 120) -> None:
        """Wait until no task waits or runs."""
        api = self.api
        until(
            lambda: (
                not any(
                    api.get("tasks/", state=state, page_size=1)["results"]
                    for state in ("waiting", "running")
                )
            ),
            "all tasks to end",
            seconds,
        )

    def check(self) -> None:
        """Let `entrepot check` look for anything that must not be.

        What attempts leave behind is swept in the background, so it gets a while.
        """
        self.settle()
        deadline = time.monotonic() + SWEEP_SECONDS
        while (found := self.cli("check", expect=None, extra=self.extra)).returncode:
            assert time.monotonic() < deadline, f"{found.stdout}\n{found.stderr}"


class StackFactory(Protocol):
    """Starts a stack that belongs to one test."""

    def __call__(
        self, environment: Mapping[str, str] | None = None, *, arguments: Sequence[str] = ()
    ) -> Stack: ...
