"""Attempts over gRPC: staging, reading and publishing with a token, and what it does not allow."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from attempt_session import SYNC, Session, a_file, run
from core_under_test import (
    Core,
    a_config,
    a_remote,
    a_repository,
    errors_of_core,
    pack,
    running_api,
    running_dispatch,
)
from entrepot.core.v1 import (
    content_service_pb2,
    content_service_pb2_grpc,
    repository_service_pb2,
    repository_service_pb2_grpc,
    task_service_pb2,
    workspace_service_pb2,
)
from entrepot.plugins.file.v1 import file_pb2
from entrepot.type.v1 import content_pb2
from entrepot_core.domain.errors import ServiceError
from fake_plugin import FakePlugin

Task = task_service_pb2.Task
Read = workspace_service_pb2.ReadContentRequest


@pytest.fixture
def plugin() -> Iterator[FakePlugin]:
    """A plugin that does what a test says."""
    plugin = FakePlugin().start()
    yield plugin
    plugin.stop()


@pytest.fixture
def core(core_dsn: str, tmp_path: Path, plugin: FakePlugin) -> Iterator[Core]:
    """A core with a dispatcher, the plugin, a repository foo and a remote bar."""
    config = a_config(core_dsn, tmp_path)
    with running_api(config) as core, running_dispatch(config):
        core.register(plugin)
        a_repository(core.database)
        a_remote(core.database)
        yield core
        plugin.released.set()


def test_what_is_staged_becomes_a_version(core: Core, plugin: FakePlugin) -> None:
    """Written, staged, committed, listed by path and filtered."""

    def work(session: Session) -> None:
        names = ["b/two", "a", "c"]
        for name in names:
            session.write(name.encode())
        answer = session.stage(*(a_file(name) for name in names))
        assert [unit.existed for unit in answer.units] == [False] * 3
        assert not answer.missing_blobs

    task = run(core, plugin, work)

    assert task.created_resource == "repositories/file/foo/versions/1"
    content = content_service_pb2_grpc.ContentServiceStub(core.channel)
    listed = content.ListContent(
        content_service_pb2.ListContentRequest(parent=task.created_resource, page_size=2),
        metadata=core.metadata,
    )
    rest = content.ListContent(
        content_service_pb2.ListContentRequest(
            parent=task.created_resource, page_size=2, page_token=listed.next_page_token
        ),
        metadata=core.metadata,
    )
    paths = [one.unit.artifacts[0].relative_path for one in (*listed.content, *rest.content)]
    assert paths == ["a", "b/two", "c"]
    assert rest.next_page_token == ""
    assert all(one.is_stored for one in listed.content)
    names: list[str] = []
    for parent in ("repositories/file/foo/versions/latest", "content/file/files"):
        found = content.ListContent(
            content_service_pb2.ListContentRequest(
                parent=parent, filter="relative_path = b/* AND size_bytes = 5"
            ),
            metadata=core.metadata,
        )
        assert len(found.content) == 1
        names.append(found.content[0].name)
    one = content.GetContent(
        content_service_pb2.GetContentRequest(name=names[0]), metadata=core.metadata
    )
    assert {one.content.name} == set(names)


def test_core_adds_removes_and_copies_by_itself(core: Core, plugin: FakePlugin) -> None:
    """Ready-made work needs no Execute; a removal of what is not there names it."""

    def work(session: Session) -> None:
        for name in ("a", "b"):
            session.write(name.encode())
        session.stage(a_file("a"), a_file("b"))

    run(core, plugin, work)
    other = a_repository(core.database, "other")
    copied = core.create(
        file_pb2.Copy(source="foo", repository=other, filter="relative_path = a"), wait=30
    )
    removed = core.create(file_pb2.Remove(repository="foo", all=True), wait=30)
    content = content_service_pb2_grpc.ContentServiceStub(core.channel)
    (unit,) = content.ListContent(
        content_service_pb2.ListContentRequest(parent=f"{other}/versions/1"),
        metadata=core.metadata,
    ).content
    added = core.create(file_pb2.Add(repository="foo", content=[unit.name]), wait=30)
    again = core.create(file_pb2.Add(repository="foo", content=[unit.name]), wait=30)
    planned = core.create(
        file_pb2.Remove(repository="foo", content=[unit.name]), wait=30, dry_run=True
    )
    core.create(file_pb2.Remove(repository="foo", content=[unit.name]), wait=30)
    absent = core.create(file_pb2.Remove(repository="foo", content=[unit.name]), wait=30)

    assert [one.created_resource for one in (copied, removed, added, again)] == [
        f"{other}/versions/1",
        "repositories/file/foo/versions/2",
        "repositories/file/foo/versions/3",
        "",
    ]
    assert planned.differences[0].removed_units[0].path == "a"
    assert absent.state == Task.STATE_FAILED
    assert "a (content/file/files/" in absent.error.message
    versions = repository_service_pb2_grpc.RepositoryServiceStub(core.channel)
    compared = versions.CompareVersions(
        repository_service_pb2.CompareVersionsRequest(name="repositories/file/foo/versions/2"),
        metadata=core.metadata,
    )
    assert [change.key for change in compared.changes] == ["a", "b"]


def test_reading_sees_what_was_lent(core: Core, plugin: FakePlugin) -> None:
    """The base version in batches, units by name, and nothing of other repositories."""
    seen: list[str] = []

    def first(session: Session) -> None:
        for name in ("a", "b"):
            session.write(name.encode())
        session.stage(a_file("a"), a_file("b"))
        assert session.read(version={"repository_role": "repository"}) == []

    def second(session: Session) -> None:
        units = session.read(version={"repository_role": "repository"})
        seen.extend(unit.artifacts[0].relative_path for unit in units)
        (bare,) = session.read(
            version={"repository_role": "repository"},
            content_types=["file.file"],
            filter="relative_path = a",
            attributes_only=True,
        )
        assert not bare.artifacts
        (named,) = session.read(names={"names": [bare.name]})
        assert named.attributes == bare.attributes
        for fields, reason in (
            ({"version": {"repository_role": "nope"}}, "PERMISSION_DENIED"),
            ({"version": {"repository_role": "repository", "version": 7}}, "PERMISSION_DENIED"),
            ({"names": {"names": ["content/file/files/" + "0" * 64]}}, "RESOURCE_NOT_FOUND"),
            (
                {"version": {"repository_role": "repository"}, "filter": "size_bytes = 1"},
                "FIELD_INVALID",
            ),
        ):
            with pytest.raises(ServiceError) as refused:
                session.read(**fields)
            assert refused.value.reason == reason

    run(core, plugin, first)
    run(core, plugin, second)

    assert sorted(seen) == ["a", "b"]


def test_units_are_removed_by_key(core: Core, plugin: FakePlugin) -> None:
    """Attributes with the key fields set name the unit to take out; others stay."""
    names: list[str] = []

    def first(session: Session) -> None:
        for name in ("a", "b"):
            session.write(name.encode())
        names.extend(unit.name for unit in session.stage(a_file("a"), a_file("b")).units)

    def second(session: Session) -> None:
        session.stage(remove_keys=[a_file("a").attributes])

    run(core, plugin, first)
    task = run(core, plugin, second)

    assert (0, 1) == (task.differences[0].added, task.differences[0].removed)
    content = content_service_pb2_grpc.ContentServiceStub(core.channel)
    (left,) = content.ListContent(
        content_service_pb2.ListContentRequest(parent="repositories/file/foo/versions/2"),
        metadata=core.metadata,
    ).content
    assert left.name == names[1]


def test_bad_batches_are_refused_and_name_what_is_wrong(core: Core, plugin: FakePlugin) -> None:
    """Nothing of them is stored."""

    def work(session: Session) -> None:
        nothing = a_file("x")
        nothing.artifacts[0].ClearField("digests")
        outside = a_file("x")
        outside.artifacts[0].sources.add(remote_role="nope", url="http://x/")
        for units, fields, reason in (
            ([a_file("../x")], {}, "PATH_INVALID"),
            ([nothing], {}, "FIELD_INVALID"),
            ([outside], {}, "FIELD_INVALID"),
            ([content_pb2.ContentUnit(attributes=pack(SYNC))], {}, "FIELD_INVALID"),
            ([a_file("x")], {"sequence": 0}, "FIELD_INVALID"),
            ([a_file(str(i)) for i in range(1001)], {}, "BATCH_TOO_LARGE"),
            ([a_file("x")], {"role": "remote"}, "PERMISSION_DENIED"),
            ([a_file("x")], {"role": "", "removes": ["content/file/files/x"]}, "FIELD_INVALID"),
            ([], {"role": "", "remove_keys": [a_file("x").attributes]}, "FIELD_INVALID"),
            ([], {"remove_keys": [a_file("x").attributes]}, "UNIT_NOT_IN_REPOSITORY"),
        ):
            with pytest.raises(ServiceError) as refused:
                session.stage(*units, **fields)
            assert refused.value.reason == reason, refused.value.message

    task = run(core, plugin, work)

    assert not task.created_resource
    assert core.database.fetch("SELECT count(*) FROM content") == [(0,)]


def test_a_token_is_of_one_attempt(core: Core, plugin: FakePlugin) -> None:
    """It dies with the attempt; a user's token is none."""
    kept: list[Session] = []
    run(core, plugin, kept.append)

    with pytest.raises(ServiceError) as refused:
        kept[0].stage(a_file("x"))
    assert refused.value.reason == "ATTEMPT_SUPERSEDED"
    kept[0].metadata = core.metadata
    with pytest.raises(ServiceError) as refused:
        kept[0].stage(a_file("x"))
    assert refused.value.reason in {"UNAUTHENTICATED", "PERMISSION_DENIED"}


def test_published_files_become_a_publication(core: Core, plugin: FakePlugin) -> None:
    """Files of units and generated ones, of the version that the same attempt makes."""

    def work(session: Session) -> None:
        session.write(b"a")
        index = session.write(b"index")
        (unit,) = session.stage(a_file("a")).units
        request = workspace_service_pb2.StageFilesRequest(
            repository_role="repository", sequence=99
        )
        request.files.add(path="INDEX", blob=index, media_type="text/plain")
        request.files.add(path="copy/a", artifact={"unit": unit.name, "relative_path": "a"})
        session.workspace.StageFiles(request, metadata=session.metadata, timeout=20)
        request.sequence = 100
        request.files[0].path = "/etc/passwd"
        with pytest.raises(ServiceError) as refused, errors_of_core():
            session.workspace.StageFiles(request, metadata=session.metadata, timeout=20)
        assert refused.value.reason == "PATH_INVALID"

    task = run(core, plugin, work)

    assert task.created_resource.startswith("publications/file/")
    rows = core.database.fetch("SELECT path FROM published_file ORDER BY path")
    assert rows == [("INDEX",), ("copy/a",)]
