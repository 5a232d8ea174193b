"""The embedded PostgreSQL, for real: it starts, survives what crashes leave, and ends."""

import os
import select
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from entrepot_cli.postgres import (
    LOCK_NAME,
    MAX_SOCKET_PATH,
    SOCKET_LOCK_NAME,
    EmbeddedPostgres,
    PostgresError,
)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose parents anybody may pass through, with a name that a socket fits in."""
    with tempfile.TemporaryDirectory(prefix="entrepot-") as folder:
        yield Path(folder)


@pytest.fixture
def server(short_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server that is not started yet."""
    server = EmbeddedPostgres(short_path / "home" / "postgres")
    yield server
    server.stop()


def answer(dsn: str, query: str) -> object:
    """The first column of the first row."""
    connection = psycopg2.connect(dsn)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(query)
            row = cursor.fetchone()
            return row and row[0]
    finally:
        connection.close()


def test_a_new_server_checks_its_pages_and_flushes(server: EmbeddedPostgres) -> None:
    """The settings that crash safety rests on are on in a server that was just made."""
    dsn = server.start()

    settings = ("data_checksums", "fsync", "full_page_writes", "synchronous_commit")
    actual = {name: answer(dsn, f"SELECT current_setting('{name}')") for name in settings}
    assert dict.fromkeys(settings, "on") == actual


def test_no_other_user_can_enter(server: EmbeddedPostgres) -> None:
    """The socket's folder is closed to others, and nothing listens on the network."""
    dsn = server.start()

    assert answer(dsn, "SELECT current_setting('listen_addresses')") == ""
    assert stat.S_IMODE(server.runtime_dir.stat().st_mode) == 0o700


def test_the_server_is_not_root(server: EmbeddedPostgres) -> None:
    """The server does not have the rights of root, also when root starts it."""
    server.start()

    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    user = int(status["Uid"].split("\t")[0])
    namespaces = [Path(f"/proc/{process}/ns/user").readlink() for process in (server.pid, "self")]
    assert user != 0 or namespaces[0] != namespaces[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another identity")
def test_root_without_namespaces(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where user namespaces are not allowed, the folder above is opened for passing through."""
    monkeypatch.setattr("entrepot_cli.account._renamed", lambda _entry: None)
    server.data_dir.parent.parent.chmod(0o755)

    dsn = server.start()

    assert answer(dsn, "SELECT 1") == 1
    assert server.data_dir.stat().st_uid != 0
    assert stat.S_IMODE(server.data_dir.parent.stat().st_mode) == 0o711


def test_data_survives_kill_and_stop(server: EmbeddedPostgres) -> None:
    """What was committed is there after a crash, and after a stop in good order."""
    dsn = server.start()
    answer(dsn, "CREATE TABLE kept AS SELECT 1 AS n; SELECT n FROM kept")

    server.kill()
    server.start()
    after_kill = answer(dsn, "SELECT n FROM kept")
    server.stop()
    server.start()
    after_stop = answer(dsn, "SELECT n FROM kept")

    assert (after_kill, after_stop) == (1, 1)


def test_a_start_after_kill_waits_for_what_is_left(server: EmbeddedPostgres) -> None:
    """A start directly after kill -9, with a connection still served, succeeds."""
    connection = psycopg2.connect(server.start())

    server.kill()
    dsn = server.start()

    assert answer(dsn, "SELECT 1") == 1
    connection.close()


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is neither PostgreSQL nor one that started it."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("name", [LOCK_NAME, SOCKET_LOCK_NAME])
@pytest.mark.parametrize("is_torn", [False, True])
def test_a_lock_that_a_power_cut_left_is_removed(
    server: EmbeddedPostgres, stranger: subprocess.Popen[bytes], name: str, *, is_torn: bool
) -> None:
    """A lock file whose number now belongs to another process, or is lost, stops no start."""
    dsn = server.start()
    server.kill()
    lock = server.data_dir / name
    lines = lock.read_text().splitlines()
    lock.write_text("" if is_torn else "\n".join([str(stranger.pid), *lines[1:]]) + "\n")

    server.start()

    assert answer(dsn, "SELECT 1") == 1


def test_an_interrupted_first_start_is_repeated(server: EmbeddedPostgres) -> None:
    """A data folder that was never finished is made anew."""
    unfinished = server.data_dir.with_name("postgres.new")
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18")

    dsn = server.start()

    assert answer(dsn, "SELECT 1") == 1


def test_a_long_path_moves_the_socket(tmp_path: Path) -> None:
    """A data folder too deep for a socket gets one in a folder with a short name."""
    with EmbeddedPostgres(tmp_path / ("d" * MAX_SOCKET_PATH) / "postgres") as server:
        assert answer(server.dsn, "SELECT 1") == 1
        server.stop()
        server.runtime_dir.rmdir()


def test_data_of_another_version_is_refused(server: EmbeddedPostgres) -> None:
    """A data folder of another major version is named with the way out, and not touched."""
    server.start()
    server.stop()
    (server.data_dir / "PG_VERSION").write_text("9\n")

    with pytest.raises(PostgresError, match=r"made by PostgreSQL 9.*ENTREPOT_POSTGRES_BIN"):
        server.start()


def test_the_server_ends_with_its_parent(tmp_path: Path) -> None:
    """When the process that started it is killed, the server stops by itself."""
    program = (
        "import sys; from pathlib import Path; from entrepot_cli.postgres import EmbeddedPostgres;"
        "server = EmbeddedPostgres(Path(sys.argv[1])); server.start();"
        "print(server.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "postgres")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    watch = os.pidfd_open(pid)

    parent.send_signal(signal.SIGKILL)
    parent.wait()

    assert wait_for_end(watch)
    parent.stdin.close()
    parent.stdout.close()


def wait_for_end(watch: int) -> bool:
    """Wait until the process of this file descriptor is over."""
    poll = select.poll()
    poll.register(watch, select.POLLIN)
    try:
        return bool(poll.poll(20_000))
    finally:
        os.close(watch)
