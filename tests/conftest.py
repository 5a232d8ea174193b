"""What every test gets: no network beyond this machine, and a database when it asks for one."""

import ipaddress
import os
import secrets
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from s3 import S3Server

# No test is a matter of time: the machine may be busy with something else.
settings.register_profile("entrepot", deadline=None)
settings.load_profile("entrepot")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, and says so, lest one worker is busy with it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)


@pytest.fixture(autouse=True, scope="session")
def _this_machine_only() -> Iterator[None]:
    """Refuse connections to other machines, so that no test depends on one by accident."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: tuple[str, int] | str) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not is_loopback(address[0]):
            pytest.fail(f"a test tried to connect to {address!r}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


@pytest.fixture(scope="session")
def _s3_server() -> Iterator["S3Server"]:
    from s3 import S3Server  # noqa: PLC0415, only where it is used

    with S3Server() as server:
        yield server


@pytest.fixture
def s3(_s3_server: "S3Server", monkeypatch: pytest.MonkeyPatch) -> "S3Server":
    """An S3 server; the keys to it are in the environment."""
    from s3 import KEYS  # noqa: PLC0415, as above

    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    return _s3_server


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server in which databases may be created: ENTREPOT_TEST_DATABASE_URL, else one of our own.

    Each process of a parallel run starts its own; ENTREPOT_POSTGRES_BIN says from which programs.
    """
    if given := os.environ.get("ENTREPOT_TEST_DATABASE_URL"):
        yield given
        return
    from entrepot_cli.postgres import EmbeddedPostgres  # noqa: PLC0415, only where it is used

    fast = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
    data_dir = tmp_path_factory.mktemp("postgres") / "data"
    with EmbeddedPostgres(data_dir, settings=fast) as server:
        yield server.dsn


@pytest.fixture(scope="session")
def postgres_dsn(postgres_server: str) -> Iterator[str]:
    """A new, empty database for this process of the test run."""
    import psycopg2  # noqa: PLC0415, only where it is used
    from psycopg2.extensions import make_dsn, parse_dsn  # noqa: PLC0415, as above

    name = f"entrepot_test_{secrets.token_hex(8)}"
    connection = psycopg2.connect(postgres_server)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} TEMPLATE template0")
            yield make_dsn(**{**parse_dsn(postgres_server), "dbname": name})
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        connection.close()


def is_loopback(host: str) -> bool:
    """Say whether an address that is about to be connected to belongs to this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
