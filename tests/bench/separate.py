"""Servers in processes of their own, which share no interpreter with what measures."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import upstream
from addresses import free_addresses
from polling import until
from rest import Rest
from stack import BIN


class SeparateUpstream:
    """An upstream of many files."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = int(self._read())

    @property
    def manifest_url(self) -> str:
        """What a remote has as its URL."""
        return f"http://127.0.0.1:{self.port}/{upstream.MANIFEST}"

    def change(self, count: int) -> None:
        """Give so many files other bytes."""
        self._tell(f"change {count}")

    def requests(self) -> tuple[int, int]:
        """How often it was asked since the last time, and how often it has answered 304."""
        asked, not_modified = self._tell("requests").split()
        return int(asked), int(not_modified)

    def _tell(self, command: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@contextmanager
def separate_upstream(
    files: int = 0, size: int = 1024, listed: int = 0
) -> Iterator[SeparateUpstream]:
    """An upstream in a process of its own."""
    arguments = {"files": files, "size": size, "listed": listed}
    words = [f"--{name}={value}" for name, value in arguments.items()]
    command = [sys.executable, upstream.__file__, *words]
    with _running(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield SeparateUpstream(process)


@contextmanager
def bare_app(folder: Path) -> Iterator[tuple[str, int]]:
    """The floor for content: an ASGI app that sends files of a folder, on granian.

    Its origin, and the process that answers.
    """
    (address,) = free_addresses(1)
    host, _, port = address.rpartition(":")
    command = [
        str(BIN / "granian"), "--interface", "asginl", "--no-ws", "--host", host, "--port", port,
        "--log-level", "warning", "bare_app:app",
    ]  # fmt: skip
    with _running(
        command, cwd=Path(__file__).parent, env={"BARE_APP_FOLDER": str(folder)}
    ) as process:
        rest = Rest(f"http://{address}")
        until(lambda: _answers(rest), "the bare app")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield rest.origin, int(children[-1])


def _answers(rest: Rest) -> bool:
    try:
        return rest.request("GET", "/small.bin").status == 200
    except OSError:
        return False


@contextmanager
def _running(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    stdin: int | None = None,
    stdout: int | None = None,
) -> Iterator[subprocess.Popen[str]]:
    # In a session of its own, as each program of a stack: the kernel shares processors by session.
    with subprocess.Popen(
        command, cwd=cwd, env=env, stdin=stdin, stdout=stdout, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
