"""The processes of this machine that belong to one installation, read from /proc."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from polling import until


@dataclass(frozen=True)
class Process:
    """One process, as it was when it was looked at."""

    pid: int
    parent: int
    command: tuple[str, ...]

    @property
    def text(self) -> str:
        """The command in one line."""
        return " ".join(self.command)

    def is_there(self) -> bool:
        """Say whether it still runs; one that waits to be reaped does not."""
        return _state(self.pid) not in ("", "Z", "X")

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send it a signal, and after SIGKILL wait until it is gone."""
        os.kill(self.pid, number)
        if number == signal.SIGKILL:
            until(lambda: not self.is_there(), f"the end of {self.text}")


def processes_of(home: Path) -> list[Process]:
    """Every process that was told of this home, works in it, or descends from one that does."""
    seen = {process.pid: process for process in _all()}
    mine = {pid for pid in seen if pid != os.getpid() and _mentions(pid, home)}
    while True:
        more = {pid for pid, one in seen.items() if one.parent in mine} - mine
        if not more:
            return [seen[pid] for pid in sorted(mine) if seen[pid].is_there()]
        mine |= more


def _all() -> Iterator[Process]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                status = (folder / "stat").read_text()
                command = (folder / "cmdline").read_bytes().rstrip(b"\0").decode().split("\0")
            except OSError:
                continue
            yield Process(int(folder.name), int(_after_name(status)[1]), tuple(command))


def _mentions(pid: int, home: Path) -> bool:
    folder = Path("/proc") / str(pid)
    wanted = os.fsencode(home)
    try:
        variables = (folder / "environ").read_bytes().split(b"\0")
        arguments = (folder / "cmdline").read_bytes()
        place = os.fsencode((folder / "cwd").readlink())
    except OSError:
        return False
    return (
        b"ENTREPOT_HOME=" + wanted in variables
        or wanted + b"/" in arguments
        or place == wanted
        or place.startswith(wanted + b"/")
    )


def _state(pid: int) -> str:
    try:
        return _after_name(Path(f"/proc/{pid}/stat").read_text())[0]
    except OSError:
        return ""


def _after_name(status: str) -> list[str]:
    # The name is in parentheses, and may hold any character.
    return status.rpartition(")")[2].split()


def cpu_seconds(pid: int) -> float:
    """What a process has computed so far, in seconds, for itself and in the kernel."""
    try:
        status = _after_name(Path(f"/proc/{pid}/stat").read_text())
    except OSError:
        return 0
    return (int(status[11]) + int(status[12])) / os.sysconf("SC_CLK_TCK")


def proportional_bytes(pid: int) -> int:
    """Memory of a process in which shared pages count by share (PSS); 0 if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
