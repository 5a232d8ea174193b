"""Proxies in front of PostgreSQL: a real PgBouncer, in each mode."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from addresses import free_addresses
from entrepot_core.domain.errors import DatabaseUnavailableError
from entrepot_core.store import pooling
from entrepot_core.store.database import (
    Connection,
    PooledSessionsError,
    connect,
    wait_until_ready,
)
from entrepot_core.store.pooling import require_own_sessions
from polling import until

PGBOUNCER = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
NEEDED = pytest.mark.skipif(not Path(PGBOUNCER).exists(), reason="there is no PgBouncer")

_AS_NOBODY = (
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override",
)

Start = Callable[..., str]


@pytest.fixture
def pgbouncer(core_dsn: str) -> Iterator[Start]:
    """Starts a PgBouncer before the test's database and returns the URL through it."""
    with ExitStack() as running:

        def start(**settings: str) -> str:
            address = free_addresses(1)[0]
            host, _, port = address.rpartition(":")
            dsn = parse_dsn(core_dsn)
            target = " ".join(f"{name}={value}" for name, value in dsn.items())
            lines = {
                "listen_addr": host,
                "listen_port": port,
                "unix_socket_dir": "",
                "auth_type": "any",
                "pool_mode": "transaction",
                **settings,
            }
            # Not below tmp_path, which is for nobody else.
            folder = Path(running.enter_context(TemporaryDirectory(prefix="entrepot-")))
            folder.chmod(0o755)
            config = folder / "pgbouncer.ini"
            config.write_text(
                f"[databases]\nproxied = {target}\n[pgbouncer]\n"
                + "".join(f"{name} = {value}\n" for name, value in lines.items())
            )
            # It refuses to run as root; as somebody else it must still reach PostgreSQL's socket.
            user = _AS_NOBODY if os.geteuid() == 0 else ()
            process = running.enter_context(
                subprocess.Popen(
                    [*user, PGBOUNCER, str(config)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            running.callback(process.terminate)
            url = f"postgresql://{dsn.get('user', '')}@{address}/proxied"
            until(lambda: _answers(url), "PgBouncer")
            return url

        yield start


def _answers(url: str) -> bool:
    try:
        psycopg2.connect(url).close()
    except psycopg2.OperationalError:
        return False
    return True


def test_postgresql_itself_is_taken(core_dsn: str) -> None:
    """A server without a proxy in front passes."""
    require_own_sessions(core_dsn)


@NEEDED
def test_a_proxy_that_refuses_options_is_named_at_once(pgbouncer: Start) -> None:
    """With its usual settings PgBouncer is refused for what it is, and not waited for."""
    url = pgbouncer()

    with pytest.raises(PooledSessionsError, match=r"pools transactions.*session mode"):
        wait_until_ready(url, 30)


@NEEDED
@pytest.mark.parametrize("robin", ["0", "1"])
@pytest.mark.parametrize("size", ["1", "5"])
def test_a_proxy_that_pools_transactions_is_refused(
    pgbouncer: Start, robin: str, size: str
) -> None:
    """One that lets options pass is found out by what it does, in whatever order it hands out."""
    url = pgbouncer(
        ignore_startup_parameters="options",
        server_round_robin=robin,
        default_pool_size=size,
        min_pool_size=size,
    )

    with pytest.raises(PooledSessionsError, match="several sessions"):
        require_own_sessions(url)


@NEEDED
def test_a_pool_of_sessions_is_taken(pgbouncer: Start) -> None:
    """In session mode every connection has its own session, which is all that is needed."""
    url = pgbouncer(pool_mode="session", ignore_startup_parameters="options")

    wait_until_ready(url, 30)
    require_own_sessions(url)


def test_a_database_that_goes_away_meanwhile_is_something_else(
    core_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that starts while PostgreSQL is stopped says that, and has no stack trace."""

    def connect_and_lose(url: str, name: str) -> Connection:
        connection = connect(url, name=name)
        with psycopg2.connect(core_dsn) as other, other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
        other.close()
        return connection

    monkeypatch.setattr(pooling, "connect", connect_and_lose)

    with pytest.raises(DatabaseUnavailableError, match="cannot be reached"):
        require_own_sessions(core_dsn)


def test_a_database_that_is_not_there_is_something_else() -> None:
    """A refused connection is no proxy."""
    address = urlsplit(f"//{free_addresses(1)[0]}").netloc

    with pytest.raises(DatabaseUnavailableError):
        connect(f"postgresql://{address}/none")
