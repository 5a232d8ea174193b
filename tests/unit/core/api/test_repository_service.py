"""RepositoryService: what a repository may say, and how it and its versions are shown."""

from datetime import UTC, datetime

import pytest

from declarations import file_plugin
from entrepot.core.v1 import repository_service_pb2, repository_service_pb2_grpc
from entrepot.plugins.file.v1 import file_pb2
from entrepot_core.api.creation_requests import CreationRequests
from entrepot_core.api.named_resource import next_token
from entrepot_core.api.repository_service import (
    RepositoryService,
    change_message,
    repository_message,
    version_message,
)
from entrepot_core.store.content import Change
from entrepot_core.store.repositories import RepositoryRow
from entrepot_core.store.versions import VersionRow
from unconnected_core import DeclaredPlugins, Servicing, fields, no_database, pack, refusal

Repository = repository_service_pb2.Repository
Version = repository_service_pb2.Version
Difference = repository_service_pb2.CompareVersionsResponse.Change
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def servicing() -> Servicing:
    """The servicer, with a plugin for files."""
    return Servicing(
        repository_service_pb2.DESCRIPTOR.services_by_name["RepositoryService"],
        repository_service_pb2_grpc.add_RepositoryServiceServicer_to_server,
        RepositoryService(
            no_database(), DeclaredPlugins(file_plugin()), CreationRequests(lambda _: "admin")
        ),
    )


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "repository.name"),
        ({"name": "a" * 129}, "repository.name"),
        ({"name": "foo@3"}, "repository.name"),
        ({"name": "a", "retain_versions": -1}, "repository.retain_versions"),
        ({"name": "a", "retain_versions": 1_000_001}, "repository.retain_versions"),
        ({"name": "a", "labels": {"k": "\0"}}, 'repository.labels["k"]'),
        ({"name": "a", "spec": pack(file_pb2.File())}, "repository.spec"),
    ],
)
def test_a_wrong_field_is_named(
    servicing: Servicing, given: dict[str, object], field: str
) -> None:
    """Each field is refused under its own path, before anything is stored."""
    request = repository_service_pb2.CreateRepositoryRequest(
        parent="repositories/file",
        repository=Repository(**given),  # type: ignore[arg-type]
    )

    error = refusal(lambda: servicing.call("CreateRepository", request))

    assert ("FIELD_INVALID", [field]) == (error.reason, fields(error))


def test_all_wrong_labels_are_told_at_once(servicing: Servicing) -> None:
    """One answer names everything that is wrong with a description and its labels."""
    request = repository_service_pb2.CreateRepositoryRequest(
        parent="repositories/file",
        repository=Repository(name="a", description="\0", labels={"": "", "k": "v" * 129}),
    )

    error = refusal(lambda: servicing.call("CreateRepository", request))

    expected = ["repository.description", 'repository.labels[""]', 'repository.labels["k"]']
    assert expected == sorted(fields(error))


@pytest.mark.parametrize("path", ["plugin", "latest_version", "unit_count"])
def test_a_mask_cannot_name_what_core_sets(servicing: Servicing, path: str) -> None:
    """A field that core sets is refused under its path."""
    request = repository_service_pb2.UpdateRepositoryRequest(
        repository=Repository(name="repositories/file/foo")
    )
    request.update_mask.paths.append(path)

    error = refusal(lambda: servicing.call("UpdateRepository", request))

    assert [f"repository.{path}"] == fields(error)


@pytest.mark.parametrize("method", ["ListRepositories", "ListVersions", "CompareVersions"])
@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"page_size": -1}, "FIELD_INVALID"),
        ({"page_size": 1001}, "FIELD_INVALID"),
        ({"page_token": "é"}, "QUERY_INVALID"),
        ({"page_token": "!!!"}, "QUERY_INVALID"),
        ({"page_token": next_token(())}, "QUERY_INVALID"),
        ({"page_token": next_token((True,))}, "QUERY_INVALID"),
        ({"page_token": next_token((1.5,))}, "QUERY_INVALID"),
        ({"page_token": next_token((-1,))}, "QUERY_INVALID"),
        ({"page_token": next_token((2**63,))}, "QUERY_INVALID"),
    ],
)
def test_pages_are_asked_for_rightly(
    servicing: Servicing, method: str, given: dict[str, object], reason: str
) -> None:
    """All lists refuse sizes out of range, and tokens that none of their pages gave."""
    request = getattr(repository_service_pb2, f"{method}Request")(**given)

    error = refusal(lambda: servicing.call(method, request))

    assert reason == error.reason


def test_a_repository_is_shown_whole() -> None:
    """Every column is in the message."""
    row = RepositoryRow(
        repository_id=7,
        plugin="file",
        name="foo",
        description="d",
        labels={"a": "b"},
        spec=b"",
        revision=3,
        created_at=MOMENT,
        updated_at=MOMENT,
        retain_versions=5,
        latest=4,
        next_number=6,
        unit_count=9,
    )

    message = repository_message(row, None)

    expected = Repository(
        name="repositories/file/foo",
        plugin="file",
        description="d",
        labels={"a": "b"},
        retain_versions=5,
        latest_version=4,
        unit_count=9,
        etag="7-3",
    )
    expected.create_time.FromDatetime(MOMENT)
    expected.update_time.FromDatetime(MOMENT)
    assert expected == message


@pytest.mark.parametrize(("task_id", "task"), [("", ""), ("t", "tasks/t")])
def test_a_version_is_shown_whole(task_id: str, task: str) -> None:
    """Every column is in the message; the first version was made by no task."""
    row = VersionRow(2, 9, 3, 1, b"\x01\xff", task_id, MOMENT)

    message = version_message("repositories/file/foo", row)

    expected = Version(
        name="repositories/file/foo/versions/2",
        number=2,
        unit_count=9,
        added=3,
        removed=1,
        set_digest="01ff",
        task=task,
    )
    expected.create_time.FromDatetime(MOMENT)
    assert expected == message


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("", "content/n", Difference.KIND_ADDED),
        ("content/o", "", Difference.KIND_REMOVED),
        ("content/o", "content/n", Difference.KIND_REPLACED),
    ],
)
def test_a_difference_says_its_kind(old: str, new: str, kind: Difference.Kind.ValueType) -> None:
    """What has only one side came or went, and what has both was replaced."""
    message = change_message(Change("a", old, new, ("a", 1, 2, 3)))

    assert Difference(kind=kind, key="a", old_unit=old, new_unit=new) == message
