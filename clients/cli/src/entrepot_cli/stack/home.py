"""ENTREPOT_HOME: the folder of one installation, held by one process at a time, with its token."""

import fcntl
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Self

from entrepot_cli.outcome import StartError
from entrepot_rpc.durable import create_private

TOKEN_PREFIX = "ent_"  # noqa: S105, what scanners for secrets look for, not one itself
TOKEN_BYTES = 32


class HomeInUseError(StartError):
    """Another process works with this folder."""


class Home:
    """The folder, held from enter to exit; it is made if needed, closed to other users."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.logs.mkdir(mode=0o700, exist_ok=True)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StartError(
                f"The folder {self.path} cannot be used: {error.strerror}. "
                "Set ENTREPOT_HOME to one that can be written."
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise HomeInUseError(
                f"Entrepot runs on {self.path} already, as process {holder}. "
                "Stop it, or set ENTREPOT_HOME to another folder."
            ) from None
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        self._lock = lock
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def logs(self) -> Path:
        """Where each program's words are kept."""
        return self.path / "logs"

    @property
    def database(self) -> Path:
        """Where the embedded PostgreSQL keeps its data."""
        return self.path / "postgres"

    def token(self) -> str:
        """The installation's token, made on the first call."""
        path = self.path / "token"
        create_private(path, f"{new_token()}\n".encode())
        return path.read_text().strip()


def new_token() -> str:
    """A token of 256 random bits, with a prefix that scanners for secrets know."""
    return TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
