"""What it takes to start one program as a child that never outlives this process."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypedDict

PR_SET_PDEATHSIG = 1

# Looked up here, because between fork and exec nothing may be imported or allocated at leisure.
_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


class PopenArguments(TypedDict):
    """What subprocess and asyncio both take to start a program."""

    env: Mapping[str, str]
    cwd: Path | None
    user: int | None
    group: int | None
    extra_groups: list[int] | None
    start_new_session: bool
    preexec_fn: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Command:
    """A program with everything it is started with. Secrets belong in the environment."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    folder: Path | None = None
    user: int | None = None
    group: int | None = None
    # What asks it to end in good order, from us and from the kernel when we are gone.
    stop_signal: signal.Signals = signal.SIGTERM

    def popen_arguments(self) -> PopenArguments:
        """The keyword arguments for Popen, or for asyncio's way to start a program."""
        return {
            "env": self.environment,
            "cwd": self.folder,
            "user": self.user,
            "group": self.group,
            "extra_groups": None if self.user is None else [],
            "start_new_session": True,
            "preexec_fn": _dies_with(os.getpid(), self.stop_signal),
        }

    def start(self, output: int | IO[bytes]) -> subprocess.Popen[bytes]:
        """Start it with both of its outputs going to one place.

        Call it from a thread that lives as long as this process: to the kernel, that thread is
        the parent.
        """
        return subprocess.Popen(
            self.arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            **self.popen_arguments(),
        )


def _dies_with(parent: int, stop_signal: signal.Signals) -> Callable[[], None]:
    def ask_the_kernel() -> None:
        if _prctl is None:
            return
        _prctl(PR_SET_PDEATHSIG, int(stop_signal), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return ask_the_kernel
