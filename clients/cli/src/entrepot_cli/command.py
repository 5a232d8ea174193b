"""What it takes to start one program as a child that never outlives this process."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypedDict

from entrepot_cli import guard


class PopenArguments(TypedDict):
    """What subprocess and asyncio both take to start a program."""

    env: Mapping[str, str]
    cwd: Path | None
    stdin: int
    stderr: int
    start_new_session: bool


@dataclass(frozen=True, slots=True)
class Command:
    """A program with everything it is started with. Secrets belong in the environment."""

    program: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    folder: Path | None = None
    user: int | None = None
    group: int | None = None
    # What asks it to end in good order, from us and from the kernel when we are gone.
    stop_signal: signal.Signals = signal.SIGTERM

    @property
    def arguments(self) -> tuple[str, ...]:
        """What to execute: the guard, which becomes the program under the same process id."""
        user = -1 if self.user is None else self.user
        group = -1 if self.group is None else self.group
        numbers = (os.getpid(), int(self.stop_signal), user, group)
        # Isolated and without site packages it starts in a few milliseconds.
        return (sys.executable, "-I", "-S", guard.__file__, *map(str, numbers), *self.program)

    @property
    def popen_arguments(self) -> PopenArguments:
        """The keyword arguments for Popen, or for asyncio's way to start a program."""
        return {
            "env": self.environment,
            "cwd": self.folder,
            "stdin": subprocess.DEVNULL,
            "stderr": subprocess.STDOUT,
            "start_new_session": True,
        }

    def start(self, output: int | IO[bytes]) -> subprocess.Popen[bytes]:
        """Start it with both of its outputs going to one place.

        Call it from a thread that lives as long as this process: to the kernel, that thread is
        the parent.
        """
        return subprocess.Popen(self.arguments, stdout=output, **self.popen_arguments)
