"""S27: no filter, order, page or count tells anything of a secret."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from core_database import core_dsn, core_schema, database
from core_under_test import Core, a_config, errors_of_core, running_api
from entrepot.core.v1 import (
    content_service_pb2,
    remote_service_pb2,
    remote_service_pb2_grpc,
    task_service_pb2,
    token_service_pb2,
)
from entrepot_core.domain.errors import ServiceError
from entrepot_core.store.secret_key import SecretKey
from fake_plugin import FakePlugin

__all__ = ["core_dsn", "core_schema", "database"]

CANARY, WRONG = "canary-7f3a", "wrong-7f3a00"
SECRETS = ("password", "token", "proxy_password", "client_key", "secrets", "secrets_set", "digest")


@pytest.fixture
def core(core_dsn: str, tmp_path: Path) -> Iterator[Core]:
    """A core with a remote that has the canary wherever a secret can be."""
    plugin = FakePlugin().start()
    config = a_config(core_dsn, tmp_path)
    SecretKey(config.secret_key_file).create()
    with running_api(config) as core:
        core.register(plugin)
        remote = remote_service_pb2.Remote(
            name="remotes/file/x",
            url="http://127.0.0.1:9/PULP_MANIFEST",
            username="u",
            password=CANARY,
            headers={"X-Key": CANARY},
        )
        with errors_of_core():
            stub(core).CreateRemote(
                remote_service_pb2.CreateRemoteRequest(parent="remotes/file", remote=remote),
                metadata=core.metadata,
                timeout=20,
            )
        yield core
    plugin.stop()


def stub(core: Core) -> remote_service_pb2_grpc.RemoteServiceStub:
    """Calls the service that has the secrets."""
    return remote_service_pb2_grpc.RemoteServiceStub(core.channel)


def answer(core: Core, **fields: str) -> str:
    """What a list of remotes answers, or why not, without what the caller said itself."""
    request = remote_service_pb2.ListRemotesRequest(parent="remotes/file", **fields)  # type: ignore[arg-type]
    try:
        with errors_of_core():
            said = str(stub(core).ListRemotes(request, metadata=core.metadata, timeout=20))
    except ServiceError as error:
        said = f"{error.reason} {error.message}"
    return said


def test_the_right_secret_finds_no_more_than_a_wrong_one(core: Core) -> None:
    """S27: what reads like a filter on a secret is a label that nothing has, or an error."""
    for field in (*SECRETS, "headers.X-Key", "secrets->>'password'"):
        for operator in ("=", "~", "!=", "^=", ">"):
            right, wrong = (answer(core, label=f"{field}{operator}{s}") for s in (CANARY, WRONG))

            assert right.replace(CANARY, "X") == wrong.replace(WRONG, "X")


def test_a_page_token_orders_by_nothing_secret(core: Core) -> None:
    """S27: a made-up place in the list is compared with names only."""

    def token(text: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(text).encode()).decode().rstrip("=")

    for position in ([CANARY], ["x", CANARY], {"password": CANARY}, CANARY):
        other = json.loads(json.dumps(position).replace(CANARY, WRONG))
        right, wrong = (answer(core, page_token=token(one)) for one in (position, other))

        assert right.replace(CANARY, "X") == wrong.replace(WRONG, "X")


def test_no_list_has_a_field_for_a_secret() -> None:
    """S27: neither a filter nor an order can be asked for by a secret's name, in any service."""
    files = (
        content_service_pb2.DESCRIPTOR,
        remote_service_pb2.DESCRIPTOR,
        task_service_pb2.DESCRIPTOR,
        token_service_pb2.DESCRIPTOR,
    )
    names = {
        field.name
        for file in files
        for name, message in file.message_types_by_name.items()
        if name.startswith("List") and name.endswith("Request")
        for field in message.fields
    }

    assert names
    assert names.isdisjoint({*SECRETS, "secret", "order_by", "ordering", "q"})


def test_what_is_listed_has_no_secret(core: Core) -> None:
    """S27: the canary is in no answer, and a list of tokens has no secret of one."""
    secret = core.called_by("ci").token
    tokens = core.tokens.ListTokens(
        token_service_pb2.ListTokensRequest(), metadata=core.metadata, timeout=20
    )

    assert CANARY not in answer(core)
    assert "remotes/file/x" in answer(core)
    assert secret not in str(tokens)
    assert "tokens/ci" in str(tokens)
