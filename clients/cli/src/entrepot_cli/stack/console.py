"""What `entrepot up` shows: each program's lines under its name, and the same in a file each."""

import os
import sys
from pathlib import Path
from typing import IO, TextIO

# One of the terminal's own colours per program, so that they fit its theme.
COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
MAX_LOG_BYTES = 16 << 20


class Console:
    """Lines on the terminal and in files."""

    def __init__(self, logs: Path, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._logs = logs
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._colours: dict[str, int] = {}
        self._files: dict[str, IO[bytes]] = {}
        self._width = 0

    def add(self, name: str) -> None:
        """Expect lines of this program."""
        self._width = max(self._width, len(name))
        self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])

    def line(self, name: str, text: str) -> None:
        """Show and keep what a program said."""
        self._keep(name, text)
        if not self._quiet:
            self._show(name, text)

    def note(self, text: str) -> None:
        """Show what `up` itself has to say."""
        self._keep("up", text)
        self._show("up", text)

    def last_words(self, name: str, count: int = 5) -> str:
        """The last lines a program said, for an error."""
        try:
            with self._path(name).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
                return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])
        except FileNotFoundError:
            return ""

    def close(self) -> None:
        """Finish the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _path(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _keep(self, name: str, text: str) -> None:
        file = self._files.get(name)
        if file is None or file.tell() > MAX_LOG_BYTES:
            file = self._open(name)
        file.write(text.encode() + b"\n")
        file.flush()

    def _open(self, name: str) -> IO[bytes]:
        path = self._path(name)
        if old := self._files.pop(name, None):
            old.close()
        if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._files[name] = os.fdopen(descriptor, "ab")
        return self._files[name]

    def _show(self, name: str, text: str) -> None:
        label = name.ljust(self._width)
        if self._stream.isatty() and "NO_COLOR" not in os.environ:
            label = f"\x1b[{self._colours.get(name, 1)}m{label}\x1b[0m"
        print(f"{label} │ {text}", file=self._stream, flush=True)
