"""What an attacker tries, and why it does not work."""

from collections.abc import Iterator

import pytest

from core_database import core_dsn, core_schema, database
from download_fixtures import client, upstream
from gateway_process import GatewayProcess, gateway_process

__all__ = ["api", "client", "content", "core_dsn", "core_schema", "database", "upstream"]


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """The content origin, as a process; it must be the same one when the tests are done."""
    with gateway_process("content", tmp_path_factory.mktemp("home")) as process:
        yield process
        assert process.is_alive


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """The API, as a process; it must be the same one when the tests are done."""
    with gateway_process("api", tmp_path_factory.mktemp("home")) as process:
        yield process
        assert process.is_alive
