"""S37: metrics are shown to nobody by default, and name no secret and nothing private."""

from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

import pytest

from addresses import free_addresses
from core_database import core_dsn, core_schema, database
from core_under_test import a_config, a_remote, a_repository, errors_of_core, running_api
from entrepot.core.v1 import token_service_pb2, token_service_pb2_grpc
from entrepot.plugins.file.v1 import file_pb2
from entrepot_core.config import Config
from entrepot_core.domain.errors import ServiceError
from entrepot_gateway.config import Config as GatewayConfig
from entrepot_rpc.exposition import Exposition, new_registry
from fake_plugin import FakePlugin

__all__ = ["core_dsn", "core_schema", "database"]

SCRAPER = "token-of-prometheus"


@pytest.fixture
def plugin() -> Iterator[FakePlugin]:
    """A plugin that nobody asks anything of."""
    plugin = FakePlugin().start()
    yield plugin
    plugin.stop()


def scrape(port: int, token: str = "") -> tuple[int, str]:
    """What a scraper is answered."""
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request("GET", "/metrics", headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_metrics_name_nothing_private(core_dsn: str, tmp_path: Path, plugin: FakePlugin) -> None:
    """S37: names, tokens, ids of requests and words of callers are in no series and no label."""
    (address,) = free_addresses(1)
    port = int(address.rpartition(":")[2])
    config = a_config(core_dsn, tmp_path)
    config = replace(config, metrics=address, metrics_token=SCRAPER)
    with running_api(config) as core:
        core.register(plugin)
        a_repository(core.database, "private-repository")
        a_remote(core.database, "private-remote")
        tokens = token_service_pb2_grpc.TokenServiceStub(core.channel)
        asked = token_service_pb2.CreateTokenRequest()
        asked.token.name = "private-caller"
        secret = tokens.CreateToken(asked, metadata=core.metadata, timeout=20).token.secret
        sync = file_pb2.Sync(repository="private-repository", remote="private-remote")
        core.create(sync, request_id="private-request")
        with pytest.raises(ServiceError), errors_of_core():
            core.create(file_pb2.Sync(repository="private-nothing", remote="private-remote"))

        refused = scrape(port)
        guessed = scrape(port, secret)
        status, shown = scrape(port, SCRAPER)

    assert (refused[0], guessed[0], status) == (401, 401, 200)
    assert "entrepot" not in refused[1] + guessed[1]
    assert 'entrepot_tasks{plugin="file",state="waiting",type="file/syncs"} 1.0' in shown
    assert "CreateTask" in shown
    for word in ("private", secret, core.token, SCRAPER, str(tmp_path)):
        assert word not in shown


def test_metrics_are_shown_nowhere_unless_asked() -> None:
    """S37: no process shows them by default, and to others than this machine with a token only."""
    env = {"ENTREPOT_DATABASE_URL": "postgresql:///x"}

    assert Config.from_environment(env).metrics == ""
    assert GatewayConfig.from_environment("api", env=env).metrics == ""
    for address in ("0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.org:0"):
        with pytest.raises(ValueError, match="ENTREPOT_METRICS_TOKEN"):
            Exposition(new_registry(), address, "")
