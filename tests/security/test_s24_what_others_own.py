"""S24: what belongs to somebody else is not there, however it is named."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core_database import core_dsn, core_schema, database
from core_under_test import Core, a_config, a_repository, errors_of_core, pack, running_api
from entrepot.core.v1 import task_service_pb2
from entrepot.core.v1 import upload_service_pb2 as pb
from entrepot.plugins.file.v1 import file_pb2
from entrepot_core.domain.errors import ServiceError
from fake_plugin import FakePlugin

__all__ = ["core_dsn", "core_schema", "database"]

DATA = b"bytes of ann"
NOBODYS = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def core(core_dsn: str, tmp_path: Path) -> Iterator[Core]:
    """A core with a repository, which the administrator calls."""
    plugin = FakePlugin().start()
    with running_api(a_config(core_dsn, tmp_path)) as core:
        core.register(plugin)
        a_repository(core.database)
        yield core
    plugin.stop()


def get(core: Core, name: str) -> object:
    """Reads it."""
    return core.uploads.GetUpload(pb.GetUploadRequest(name=name), metadata=core.metadata)


def write(core: Core, name: str) -> object:
    """Writes to it."""
    opened = pb.WriteUploadRequest(open=pb.WriteUploadRequest.Open(name=name, last=True))
    chunk = pb.WriteUploadRequest(chunk=DATA)
    return core.uploads.WriteUpload(iter([opened, chunk]), metadata=core.metadata)


def write_many(core: Core, name: str) -> object:
    """Writes to it in a batch."""
    request = pb.BatchWriteUploadsRequest()
    request.items.add(name=name, data=DATA)
    return core.uploads.BatchWriteUploads(request, metadata=core.metadata)


def delete(core: Core, name: str) -> object:
    """Gives it up."""
    return core.uploads.DeleteUpload(pb.DeleteUploadRequest(name=name), metadata=core.metadata)


def add(core: Core, name: str) -> object:
    """Puts it into a repository."""
    return core.create(file_pb2.Upload(repository="foo", upload=name))


def add_many(core: Core, name: str) -> object:
    """Puts it into a repository, as one of a list."""
    parameters = file_pb2.Upload(repository="foo")
    parameters.files.add(upload=name)
    return core.create(parameters)


def check(core: Core, name: str) -> object:
    """Asks whether it could be put into a repository."""
    return core.create(file_pb2.Upload(repository="foo", upload=name), validate_only=True)


def clone(core: Core, name: str) -> object:
    """Repeats a task of its own with it."""
    own = complete(core)
    task = core.create(file_pb2.Upload(repository="foo", upload=own))
    request = task_service_pb2.CloneTaskRequest(
        name=task.name, overrides=pack(file_pb2.Upload(upload=name))
    )
    return core.tasks.CloneTask(request, metadata=core.metadata)


def complete(core: Core) -> str:
    """The name of a new upload that has its bytes."""
    request = pb.CreateUploadRequest(upload=pb.Upload(filename="a"))
    name = core.uploads.CreateUpload(request, metadata=core.metadata).upload.name
    write(core, name)
    return name


def spelled(name: str) -> list[str]:
    """The ways in which it can be named."""
    return [name, f"/api/v3/{name}/", f"http://127.0.0.1:8080/api/v3/{name}/", name[8:]]


@pytest.mark.parametrize("use", [get, write, write_many, delete, add, add_many, check, clone])
def test_an_upload_of_somebody_else_is_not_there(
    core: Core, use: Callable[[Core, str], object]
) -> None:
    """S24: by name, href, URL and id it is answered as one that nobody has, and stays whole."""
    ann, bob = core.called_by("ann"), core.called_by("bob")
    name = complete(ann)

    for theirs, nobodys in zip(spelled(name), spelled(f"uploads/{NOBODYS}"), strict=True):
        answers = []
        for one in (theirs, nobodys):
            with pytest.raises(ServiceError) as refused, errors_of_core():
                use(bob, one)
            error = refused.value
            answers.append(f"{error.code} {error.reason} {error.message} {error.metadata}")

        assert answers[0].replace(name[8:], NOBODYS) == answers[1]
        assert "RESOURCE_NOT_FOUND" in answers[0] or "FIELD_INVALID" in answers[0]

    with errors_of_core():
        get(ann, name)
        assert add(ann, name)


def test_the_administrator_sees_all(core: Core) -> None:
    """S24: uploads of others can be looked at and given up by who keeps the installation."""
    name = complete(core.called_by("ann"))

    with errors_of_core():
        get(core, name)
        delete(core, name)


def test_a_request_id_is_of_one_caller(core: Core) -> None:
    """S24: the same request id of somebody else makes a task of its own."""
    ann, bob = core.called_by("ann"), core.called_by("bob")
    parameters = file_pb2.Upload(repository="foo", url="http://127.0.0.1:9/a")

    first = ann.create(parameters, request_id="once")

    assert bob.create(parameters, request_id="once").name != first.name
    assert ann.create(parameters, request_id="once").name == first.name
