"""`content` and `version`: what is in a repository, and what differs."""

import json

import pytest

from entrepot.core.v1 import content_service_pb2, repository_service_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot.type.v1 import content_pb2
from scripted_core import Cli


@pytest.mark.parametrize(
    ("typed", "parent"),
    [
        ("file/foo@3", "repositories/file/foo/versions/3"),
        ("file/foo@latest", "repositories/file/foo/versions/latest"),
        ("file/foo", "repositories/file/foo/versions/latest"),
        ("file/files", "content/file/files"),
    ],
)
def test_a_version_or_a_type(cli: Cli, typed: str, parent: str) -> None:
    """The same verb lists a version or a type of content."""
    empty = content_service_pb2.ListContentResponse()
    cli.core.answers["ListContent"] = lambda _: empty

    cli("content", "list", typed, "--filter", "size_bytes > 1")

    (request,) = cli.core.asked(content_service_pb2.ListContentRequest)
    assert (request.parent, request.filter) == (parent, "size_bytes > 1")


@pytest.mark.parametrize("typed", ["file/files", "file.file"])
def test_only_one_type(cli: Cli, typed: str) -> None:
    """A type of content is understood as it is listed, and as the server calls it."""
    empty = content_service_pb2.ListContentResponse()
    cli.core.answers["ListContent"] = lambda _: empty

    cli("content", "list", "file/foo", "--type", typed)

    (request,) = cli.core.asked(content_service_pb2.ListContentRequest)
    assert request.content_type == "file.file"


def test_attributes_are_read_with_the_plugin(cli: Cli) -> None:
    """A unit's attributes are a plain object, and its path is in the table."""
    unit = content_pb2.ContentUnit(artifacts=[content_pb2.Artifact(relative_path="a.txt")])
    unit.attributes.Pack(file_pb2.File(relative_path="a.txt", size_bytes=1 << 60))
    content = content_service_pb2.Content(name="content/file/files/ab", unit=unit)
    page = content_service_pb2.ListContentResponse(content=[content])
    cli.core.answers["ListContent"] = lambda _: page

    shown = json.loads(cli("content", "list", "file/foo@3", "-o", "json").out)
    table = cli("content", "list", "file/foo@3").out

    assert shown[0]["unit"]["attributes"]["size_bytes"] == 1 << 60
    assert table.splitlines()[1].split() == ["a.txt", "file/files/ab", "no"]


def test_a_difference_between_two(cli: Cli) -> None:
    """A difference runs from the first version to the second, with a sign for each change."""
    version = repository_service_pb2.Version(number=1)
    change = repository_service_pb2.CompareVersionsResponse.Change
    page = repository_service_pb2.CompareVersionsResponse(
        changes=[
            change(kind=change.KIND_ADDED, key="new"),
            change(kind=change.KIND_REMOVED, key="gone"),
            change(kind=change.KIND_REPLACED, key="other"),
        ]
    )
    cli.core.answers["GetVersion"] = lambda _: repository_service_pb2.GetVersionResponse(
        version=version
    )
    cli.core.answers["CompareVersions"] = lambda _: page

    out = cli("version", "diff", "file/foo@1", "file/foo@3").out

    (request,) = cli.core.asked(repository_service_pb2.CompareVersionsRequest)
    assert (request.name, request.base) == ("repositories/file/foo/versions/3", 1)
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["+", "new"],
        ["-", "gone"],
        ["~", "other"],
    ]


def test_versions_of_two_repositories_are_not_compared(cli: Cli) -> None:
    """A difference is between versions of one repository."""
    assert cli("version", "diff", "file/foo@1", "file/bar@3").status == 2


def test_a_version_to_delete_has_a_number(cli: Cli) -> None:
    """Deleting without a number would be deleting the latest: refused."""
    assert cli("version", "delete", "file/foo", "--yes").status == 2
