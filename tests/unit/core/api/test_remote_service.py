"""RemoteService: what a remote may say, and how one is shown."""

from datetime import UTC, datetime

import pytest
from google.protobuf import any_pb2

from declarations import FILE, file_plugin, with_digest
from entrepot.core.v1 import remote_service_pb2, remote_service_pb2_grpc
from entrepot.plugin.v1 import describe_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot_core.api.creation_requests import CreationRequests
from entrepot_core.api.remote_service import RemoteService, remote_message
from entrepot_core.store.remotes import RemoteRow
from remote_keys import no_key
from unconnected_core import DeclaredPlugins, Servicing, fields, no_database, pack, refusal

Remote = remote_service_pb2.Remote
URL = "http://upstream.test/PULP_MANIFEST"
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def servicing() -> Servicing:
    """The servicer, with a plugin whose remotes have fields of their own."""
    declaration = file_plugin()
    for one in declaration.resource_types:
        if one.kind == describe_pb2.RESOURCE_KIND_REMOTE:
            one.spec_message = f"{FILE}.File"
    return Servicing(
        remote_service_pb2.DESCRIPTOR.services_by_name["RemoteService"],
        remote_service_pb2_grpc.add_RemoteServiceServicer_to_server,
        RemoteService(
            no_database(),
            DeclaredPlugins(with_digest(declaration)),
            no_key(),
            CreationRequests(lambda _: "admin"),
        ),
    )


def a_remote(**given: object) -> Remote:
    """A remote that is right but for what is given."""
    return Remote(**{"name": "bar", "url": URL, "spec": a_spec(), **given})  # type: ignore[arg-type]


def a_spec() -> any_pb2.Any:
    """Fields of the plugin's own."""
    return pack(file_pb2.File(relative_path="a", sha256="b" * 64))


def test_a_right_remote_gets_as_far_as_the_database(servicing: Servicing) -> None:
    """Nothing is wrong with it but that it cannot be stored: the code says to try again."""
    request = remote_service_pb2.CreateRemoteRequest(parent="remotes/file", remote=a_remote())

    error = refusal(lambda: servicing.call("CreateRemote", request))

    assert ("UNAVAILABLE", "DATABASE_UNAVAILABLE") == (error.code.name, error.reason)
    assert error.retry_after_seconds == 2


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": ""}, "remote.name"),
        ({"name": "-a"}, "remote.name"),
        ({"name": "a b"}, "remote.name"),
        ({"name": "remotes/rpm/a"}, "remote.name"),
        ({"name": "http://[x"}, "remote.name"),
        ({"url": ""}, "remote.url"),
        ({"url": "ftp://upstream.test/"}, "remote.url"),
        ({"url": "http://user:secret@upstream.test/"}, "remote.url"),
        ({"policy": 17}, "remote.policy"),
        ({"max_concurrency": -1}, "remote.max_concurrency"),
        ({"max_concurrency": 101}, "remote.max_concurrency"),
        ({"max_retries": 21}, "remote.max_retries"),
        ({"stall_timeout_seconds": 3601}, "remote.stall_timeout_seconds"),
        ({"rate_limit": 0.0001}, "remote.rate_limit"),
        ({"rate_limit": 10_001}, "remote.rate_limit"),
        ({"rate_limit": float("nan")}, "remote.rate_limit"),
        ({"total_timeout_seconds": -1}, "remote.total_timeout_seconds"),
        ({"total_timeout_seconds": 604_801}, "remote.total_timeout_seconds"),
        ({"username": "a:b"}, "remote.username"),
        ({"password": "secret"}, "remote.username"),
        ({"username": "u", "password": "secret\n"}, "remote.password"),
        ({"token": "secret token"}, "remote.token"),
        ({"token": "secret", "username": "u"}, "remote.token"),
        ({"token": "secret", "headers": {"AUTHORIZATION": "secret"}}, "remote.headers"),
        ({"headers": {"Host": "secret"}}, 'remote.headers["Host"]'),
        ({"headers": {"X-A": "secret\r\nX-B: 1"}}, 'remote.headers["X-A"]'),
        ({"headers": {"X A": "secret"}}, "remote.headers"),
        ({"headers": {"X-A": "secret", "x-a": "secret"}}, "remote.headers"),
        ({"headers": {f"X-{number}": "secret" for number in range(33)}}, "remote.headers"),
        ({"proxy_url": "https://proxy.test:3128"}, "remote.proxy_url"),
        ({"proxy_url": "http://user:secret@proxy.test:3128"}, "remote.proxy_url"),
        ({"proxy_url": "http://proxy.test/path"}, "remote.proxy_url"),
        ({"proxy_username": "u"}, "remote.proxy_url"),
        ({"proxy_password": "secret"}, "remote.proxy_username"),
        ({"ca_certificates": "secret"}, "remote.ca_certificates"),
        ({"client_certificate": "x"}, "remote.client_key"),
        ({"client_key": "secret"}, "remote.client_certificate"),
        ({"client_certificate": "x", "client_key": "secret"}, "remote.client_certificate"),
        ({"description": "\0"}, "remote.description"),
        ({"description": "d" * 4097}, "remote.description"),
        ({"labels": {str(number): "" for number in range(65)}}, "remote.labels"),
        ({"labels": {"": "v"}}, 'remote.labels[""]'),
        ({"labels": {"a=b": "v"}}, 'remote.labels["a=b"]'),
        ({"labels": {"k": "v" * 129}}, 'remote.labels["k"]'),
        ({"spec": pack(file_pb2.Sync(repository="a"))}, "remote.spec"),
    ],
)
def test_a_wrong_field_is_named(
    servicing: Servicing, given: dict[str, object], field: str
) -> None:
    """Each field is refused under its own path, and no password comes back."""
    request = remote_service_pb2.CreateRemoteRequest(
        parent="remotes/file", remote=a_remote(**given)
    )

    error = refusal(lambda: servicing.call("CreateRemote", request))

    assert ("FIELD_INVALID", [field]) == (error.reason, fields(error))
    assert "secret" not in error.message


@pytest.mark.parametrize(
    ("parent", "reason"),
    [
        ("", "FIELD_INVALID"),
        ("remotes", "FIELD_INVALID"),
        ("repositories/file", "FIELD_INVALID"),
        ("remotes/file/x", "FIELD_INVALID"),
        ("remotes/core", "FIELD_INVALID"),
        ("remotes/rpm", "PLUGIN_UNKNOWN"),
    ],
)
def test_a_remote_is_made_where_remotes_are(
    servicing: Servicing, parent: str, reason: str
) -> None:
    """The parent is the collection of a plugin that is there and has remotes."""
    request = remote_service_pb2.CreateRemoteRequest(parent=parent, remote=a_remote())

    error = refusal(lambda: servicing.call("CreateRemote", request))

    assert reason == error.reason


@pytest.mark.parametrize("path", ["plugin", "create_time", "update_time"])
def test_a_mask_cannot_name_what_core_sets(servicing: Servicing, path: str) -> None:
    """A field that core sets is refused under its path."""
    request = remote_service_pb2.UpdateRemoteRequest(remote=a_remote(name="remotes/file/bar"))
    request.update_mask.paths.append(path)

    error = refusal(lambda: servicing.call("UpdateRemote", request))

    assert ("FIELD_INVALID", [f"remote.{path}"]) == (error.reason, fields(error))


@pytest.mark.parametrize(
    ("given", "reason", "field"),
    [
        ({"page_size": -1}, "FIELD_INVALID", ["page_size"]),
        ({"page_size": 1001}, "FIELD_INVALID", ["page_size"]),
        ({"parent": "repositories/file"}, "FIELD_INVALID", ["parent"]),
        ({"parent": "remotes/file/bar"}, "FIELD_INVALID", ["parent"]),
        ({"page_token": "!"}, "QUERY_INVALID", ["page_token"]),
        ({"page_token": "WyJhIl0"}, "QUERY_INVALID", ["page_token"]),
        ({"label": "a=\0"}, "FIELD_INVALID", ["label"]),
    ],
)
def test_a_page_is_asked_for_rightly(
    servicing: Servicing, given: dict[str, object], reason: str, field: list[str]
) -> None:
    """Size, parent, token and label are looked at before the database is."""
    request = remote_service_pb2.ListRemotesRequest(**given)  # type: ignore[arg-type]

    error = refusal(lambda: servicing.call("ListRemotes", request))

    assert (reason, field) == (error.reason, fields(error))


@pytest.mark.parametrize("method", ["GetRemote", "DeleteRemote"])
@pytest.mark.parametrize("authorization", [None, "Bearer content-token", "Attempt x"])
def test_remotes_are_for_users(
    servicing: Servicing, method: str, authorization: str | None
) -> None:
    """Neither nobody, nor the content origin, nor an attempt may see or delete a remote."""
    request = getattr(remote_service_pb2, f"{method}Request")(name="remotes/file/bar")

    error = refusal(lambda: servicing.call(method, request, authorization))

    assert ("UNAUTHENTICATED" if authorization is None else "PERMISSION_DENIED") == error.reason


@pytest.mark.parametrize(
    ("policy", "number"),
    [
        ("immediate", Remote.POLICY_IMMEDIATE),
        ("on_demand", Remote.POLICY_ON_DEMAND),
        ("streamed", Remote.POLICY_STREAMED),
    ],
)
def test_a_row_is_shown_whole(policy: str, number: Remote.Policy.ValueType) -> None:
    """Every column is in the message, the policy by its number."""
    row = RemoteRow(
        remote_id=7,
        plugin="file",
        name="bar",
        description="d",
        labels={"a": "b"},
        spec=b"",
        revision=3,
        created_at=MOMENT,
        updated_at=MOMENT,
        url=URL,
        policy=policy,
        max_concurrency=10,
        max_retries=0,
        stall_timeout_seconds=60,
    )

    message = remote_message(row, None)

    expected = Remote(
        name="remotes/file/bar",
        plugin="file",
        url=URL,
        policy=number,
        max_concurrency=10,
        max_retries=0,
        stall_timeout_seconds=60,
        verify_tls=True,
        description="d",
        labels={"a": "b"},
        etag="7-3",
    )
    expected.create_time.FromDatetime(MOMENT)
    expected.update_time.FromDatetime(MOMENT)
    assert expected == message
