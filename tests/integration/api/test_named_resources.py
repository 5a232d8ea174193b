"""Repositories, remotes and distributions over gRPC: fields, names, masks, pages, refusals."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from core_under_test import Core, a_config, errors_of_core, pack, running_api
from declarations import FILE, file_plugin, with_digest
from entrepot.core.v1 import (
    distribution_service_pb2,
    distribution_service_pb2_grpc,
    remote_service_pb2,
    remote_service_pb2_grpc,
    repository_service_pb2,
    repository_service_pb2_grpc,
)
from entrepot.plugin.v1 import describe_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot_core.domain.errors import ServiceError
from fake_plugin import FakePlugin

Repository = repository_service_pb2.Repository
Remote = remote_service_pb2.Remote
Distribution = distribution_service_pb2.Distribution
URL = "http://127.0.0.1:9/PULP_MANIFEST"


@pytest.fixture
def core(core_dsn: str, tmp_path: Path) -> Iterator[Core]:
    """A core with a plugin whose remotes have fields of their own."""
    declaration = file_plugin()
    for one in declaration.resource_types:
        if one.kind == describe_pb2.RESOURCE_KIND_REMOTE:
            one.spec_message = f"{FILE}.File"
    declaration.client_guides.add(
        client="curl",
        title="Download",
        template="curl {content_url}{path}",
        check="test -e {path}",
    )
    plugin = FakePlugin(with_digest(declaration)).start()
    try:
        with running_api(a_config(core_dsn, tmp_path)) as core:
            core.register(plugin)
            yield core
    finally:
        plugin.stop()


class Client:
    """Calls the three services and raises what they refuse with."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.repositories = repository_service_pb2_grpc.RepositoryServiceStub(core.channel)
        self.remotes = remote_service_pb2_grpc.RemoteServiceStub(core.channel)
        self.distributions = distribution_service_pb2_grpc.DistributionServiceStub(core.channel)

    def call(self, method: Any, request: Any) -> Any:  # noqa: ANN401  any rpc
        """The answer of one call."""
        with errors_of_core():
            return method(request, metadata=self.core.metadata, timeout=20)

    def repository(self, **fields: object) -> Repository:
        """A new repository."""
        request = repository_service_pb2.CreateRepositoryRequest(
            parent="repositories/file",
            repository=Repository(**fields),  # type: ignore[arg-type]
        )
        answer = self.call(self.repositories.CreateRepository, request)
        return cast("Repository", answer.repository)

    def remote(self, **fields: object) -> Remote:
        """A new remote."""
        request = remote_service_pb2.CreateRemoteRequest(
            parent="remotes/file",
            remote=Remote(**{"url": URL, **fields}),  # type: ignore[arg-type]
        )
        answer = self.call(self.remotes.CreateRemote, request)
        return cast("Remote", answer.remote)

    def distribution(self, **fields: object) -> Distribution:
        """A new distribution."""
        request = distribution_service_pb2.CreateDistributionRequest(
            parent="distributions/file",
            distribution=Distribution(**fields),  # type: ignore[arg-type]
        )
        answer = self.call(self.distributions.CreateDistribution, request)
        return cast("Distribution", answer.distribution)


@pytest.fixture
def client(core: Core) -> Client:
    """A client with a user's token."""
    return Client(core)


def test_a_repository_begins_with_an_empty_version(client: Client) -> None:
    """What was given is kept, and the rest is core's."""
    made = client.repository(name="foo", description="d", labels={"a": "b"}, retain_versions=3)

    read = client.call(
        client.repositories.GetRepository,
        repository_service_pb2.GetRepositoryRequest(name="repositories/file/foo"),
    )
    version = client.call(
        client.repositories.GetVersion,
        repository_service_pb2.GetVersionRequest(name="repositories/file/foo/versions/latest"),
    )

    assert read.repository == made
    assert (made.name, made.plugin, made.latest_version) == ("repositories/file/foo", "file", 0)
    assert dict(made.labels) == {"a": "b"}
    assert (version.version.number, version.version.unit_count) == (0, 0)


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"name": ""}, "FIELD_INVALID", "repository.name"),
        ({"name": "a/b/c/d"}, "FIELD_INVALID", "repository.name"),
        ({"name": "a b"}, "FIELD_INVALID", "repository.name"),
        ({"name": "-a"}, "FIELD_INVALID", "repository.name"),
        ({"name": "a" * 129}, "FIELD_INVALID", "repository.name"),
        ({"name": "a", "retain_versions": -1}, "FIELD_INVALID", "repository.retain_versions"),
        ({"name": "a", "labels": {"k" * 129: ""}}, "FIELD_INVALID", "repository.labels"),
        ({"name": "a", "description": "d" * 5000}, "FIELD_INVALID", "repository.description"),
        ({"name": "a", "spec": pack(file_pb2.File())}, "FIELD_INVALID", "repository.spec"),
    ],
)
def test_a_bad_repository_is_refused_by_field(
    client: Client, fields: dict[str, object], reason: str, field: str
) -> None:
    """The error names the field, and nothing is stored."""
    with pytest.raises(ServiceError) as refused:
        client.repository(**fields)

    assert refused.value.reason == reason
    assert refused.value.violations[0].field.startswith(field)
    assert client.core.database.fetch("SELECT count(*) FROM repository") == [(0,)]


def test_a_name_is_taken_once(client: Client) -> None:
    """The second one is told which."""
    client.repository(name="foo")

    with pytest.raises(ServiceError) as refused:
        client.repository(name="repositories/file/foo")

    assert refused.value.reason == "NAME_TAKEN"
    assert refused.value.metadata["resource"] == "repositories/file/foo"


@pytest.mark.parametrize("parent", ["", "repositories", "remotes/file", "repositories/nope"])
def test_a_repository_belongs_to_a_plugin(client: Client, parent: str) -> None:
    """The parent names a registered plugin."""
    request = repository_service_pb2.CreateRepositoryRequest(
        parent=parent, repository=Repository(name="foo")
    )

    with pytest.raises(ServiceError) as refused:
        client.call(client.repositories.CreateRepository, request)

    assert refused.value.reason in {"FIELD_INVALID", "PLUGIN_UNKNOWN"}


def test_an_update_changes_what_the_mask_names(client: Client) -> None:
    """And nothing else; the etag must be the one that was read."""
    made = client.repository(name="foo", description="old", retain_versions=3)
    request = repository_service_pb2.UpdateRepositoryRequest(
        repository=Repository(name=made.name, description="new", etag=made.etag)
    )
    request.update_mask.paths.extend(["description", "labels"])

    changed = client.call(client.repositories.UpdateRepository, request).repository

    assert (changed.description, changed.retain_versions) == ("new", 3)
    assert changed.etag != made.etag
    with pytest.raises(ServiceError) as refused:
        client.call(client.repositories.UpdateRepository, request)
    assert refused.value.reason == "ETAG_MISMATCH"


@pytest.mark.parametrize("path", ["latest_version", "plugin", "nonsense", "spec.nonsense"])
def test_an_update_of_what_is_no_field_is_refused(client: Client, path: str) -> None:
    """What core sets, and what there is not."""
    client.repository(name="foo")
    request = repository_service_pb2.UpdateRepositoryRequest(
        repository=Repository(name="repositories/file/foo")
    )
    request.update_mask.paths.append(path)

    with pytest.raises(ServiceError) as refused:
        client.call(client.repositories.UpdateRepository, request)

    assert refused.value.reason == "FIELD_INVALID"


def test_pages_have_every_repository_once(client: Client) -> None:
    """By name, with a token from page to page; a label selects."""
    for index in range(7):
        client.repository(name=f"r{index}", labels={"even": str(index % 2 == 0)})
    seen = []
    token = ""
    while True:
        request = repository_service_pb2.ListRepositoriesRequest(page_size=3, page_token=token)
        answer = client.call(client.repositories.ListRepositories, request)
        seen += [one.name for one in answer.repositories]
        token = answer.next_page_token
        if not token:
            break
    even = client.call(
        client.repositories.ListRepositories,
        repository_service_pb2.ListRepositoriesRequest(
            parent="repositories/file", label="even=True"
        ),
    )

    assert seen == [f"repositories/file/r{index}" for index in range(7)]
    assert len(even.repositories) == 4


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"page_token": "nonsense"}, "QUERY_INVALID"),
        ({"page_token": "WzEsMl0"}, "QUERY_INVALID"),
        ({"page_size": -1}, "FIELD_INVALID"),
        ({"page_size": 1001}, "FIELD_INVALID"),
        ({"parent": "remotes/file"}, "FIELD_INVALID"),
    ],
)
def test_a_bad_page_is_refused(client: Client, fields: dict[str, object], reason: str) -> None:
    """Tokens are opaque, sizes have limits."""
    with pytest.raises(ServiceError) as refused:
        client.call(
            client.repositories.ListRepositories,
            repository_service_pb2.ListRepositoriesRequest(**fields),  # type: ignore[arg-type]
        )

    assert refused.value.reason == reason


def test_a_remote_has_defaults(client: Client) -> None:
    """What was not said is immediate, ten at once, three retries, a minute of silence."""
    made = client.remote(name="bar")

    assert made.policy == Remote.POLICY_IMMEDIATE
    assert (made.max_concurrency, made.max_retries, made.stall_timeout_seconds) == (10, 3, 60)
    assert client.remote(name="never", max_retries=0).max_retries == 0


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"url": ""}, "remote.url"),
        ({"url": "ftp://x/"}, "remote.url"),
        ({"url": "http://user:secret@x/"}, "remote.url"),
        ({"max_concurrency": 101}, "remote.max_concurrency"),
        ({"max_retries": 21}, "remote.max_retries"),
        ({"stall_timeout_seconds": -1}, "remote.stall_timeout_seconds"),
        ({"policy": 9}, "remote.policy"),
    ],
)
def test_a_bad_remote_is_refused_by_field(
    client: Client, fields: dict[str, object], field: str
) -> None:
    """Ranges are said, and no password is repeated."""
    with pytest.raises(ServiceError) as refused:
        client.remote(name="bar", **fields)

    assert refused.value.violations[0].field == field
    assert "secret" not in refused.value.message


def test_fields_of_the_plugin_stand_beside_the_others(client: Client) -> None:
    """A mask names them without prefix, and changes them one by one."""
    made = client.remote(name="bar", spec=pack(file_pb2.File(sha256="x", size_bytes=5)))
    request = remote_service_pb2.UpdateRemoteRequest(
        remote=Remote(name=made.name, spec=pack(file_pb2.File(relative_path="p")))
    )
    request.update_mask.paths.extend(["relative_path", "size_bytes"])

    changed = client.call(client.remotes.UpdateRemote, request).remote

    spec = file_pb2.File()
    changed.spec.Unpack(spec)
    assert spec == file_pb2.File(relative_path="p", sha256="x")
    assert changed.url == URL


def test_a_remote_is_deleted_with_its_etag(client: Client) -> None:
    """Deleted is gone; another etag is refused."""
    made = client.remote(name="bar")
    request = remote_service_pb2.DeleteRemoteRequest(name=made.name, etag="other")
    with pytest.raises(ServiceError) as refused:
        client.call(client.remotes.DeleteRemote, request)
    assert refused.value.reason == "ETAG_MISMATCH"

    request.etag = made.etag
    client.call(client.remotes.DeleteRemote, request)

    with pytest.raises(ServiceError) as refused:
        client.call(client.remotes.DeleteRemote, request)
    assert refused.value.reason == "RESOURCE_NOT_FOUND"


def test_a_distribution_serves_one_thing(client: Client) -> None:
    """A repository, a version, a publication, or nothing yet; setting one clears the others."""
    client.repository(name="foo")
    made = client.distribution(name="dev", base_path="dev/x", repository="foo")
    assert made.repository == "repositories/file/foo"
    assert made.content_url.endswith("/dev/x/")
    request = distribution_service_pb2.UpdateDistributionRequest(
        distribution=Distribution(name=made.name, version="repositories/file/foo/versions/0")
    )

    changed = client.call(client.distributions.UpdateDistribution, request).distribution

    assert (changed.repository, changed.version) == ("", "repositories/file/foo/versions/0")
    with pytest.raises(ServiceError, match="serves one thing"):
        client.distribution(name="two", base_path="two", repository="foo", version="foo@0")
    with pytest.raises(ServiceError) as refused:
        client.distribution(name="three", base_path="three", repository="nope")
    assert refused.value.reason == "RESOURCE_NOT_FOUND"


@pytest.mark.parametrize("base_path", ["a/b", "a", "a/b/c", "a/b/"])
def test_base_paths_do_not_overlap(client: Client, base_path: str) -> None:
    """Neither equal, nor inside, nor above another."""
    client.distribution(name="one", base_path="a/b")
    client.distribution(name="beside", base_path="a/b-c")

    with pytest.raises(ServiceError) as refused:
        client.distribution(name="two", base_path=base_path)

    assert refused.value.reason == "BASE_PATH_OVERLAPS"
    assert refused.value.metadata["other"] == "distributions/file/one"


def test_a_distribution_that_is_made_again_has_its_name_taken(client: Client) -> None:
    """Who repeats a request hears of the name, not of the base path that it has taken itself."""
    client.distribution(name="dev", base_path="dev")

    with pytest.raises(ServiceError) as refused:
        client.distribution(name="dev", base_path="dev")

    assert refused.value.reason == "NAME_TAKEN"


def test_a_served_repository_is_in_use(client: Client) -> None:
    """It is deleted when nothing serves it."""
    client.repository(name="foo")
    made = client.distribution(name="dev", base_path="dev", repository="foo")
    request = repository_service_pb2.DeleteRepositoryRequest(name="repositories/file/foo")
    with pytest.raises(ServiceError) as refused:
        client.call(client.repositories.DeleteRepository, request)
    assert refused.value.reason == "RESOURCE_IN_USE"
    client.call(
        client.distributions.DeleteDistribution,
        distribution_service_pb2.DeleteDistributionRequest(name=made.name),
    )

    client.call(client.repositories.DeleteRepository, request)

    assert client.core.database.fetch("SELECT count(*) FROM version") == [(0,)]


def test_guides_are_filled_in(client: Client) -> None:
    """With the address that clients see."""
    made = client.distribution(name="dev", base_path="dev")

    answer = client.call(
        client.distributions.ListGuides,
        distribution_service_pb2.ListGuidesRequest(parent=made.name, client="curl"),
    )

    assert [guide.text for guide in answer.guides] == [f"curl {made.content_url}"]
