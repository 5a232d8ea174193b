"""References in parameters: the names people give, in full, and the locks they mean."""

import pytest
from google.protobuf.message import Message

from declarations import file_plugin
from entrepot.plugins.file.v1 import file_pb2
from entrepot_core.domain.errors import FieldInvalidError
from entrepot_core.plugins import binding
from entrepot_core.plugins.descriptors import Declaration, TaskTypeView

VIEWS = {view.declared.parameters_message: view for view in Declaration(file_plugin()).task_types}
UPLOAD = "0199f0c2-7a51-7c3e-9d2b-5f0a4b6c7d8e"


def view_of(message: Message) -> TaskTypeView:
    """The task type of parameters."""
    return VIEWS[message.DESCRIPTOR.full_name]


@pytest.mark.parametrize(
    "given",
    [
        "foo",
        "file/foo",
        "repositories/file/foo",
        "/api/v3/repositories/file/foo/",
        "http://127.0.0.1:8080/api/v3/repositories/file/foo/",
    ],
)
def test_names_are_given_in_many_ways(given: str) -> None:
    """Last segment, name, path and URL mean the same, and are replaced by the name in full."""
    message = file_pb2.Sync(repository=given, remote="bar")

    found = binding.read(view_of(message), message)

    assert message.repository == "repositories/file/foo"
    assert ["repositories/file/foo", "remotes/file/bar"] == [one.name for one in found]


@pytest.mark.parametrize(
    ("given", "name", "lock"),
    [
        ("foo", "repositories/file/foo", "repositories/file/foo"),
        ("foo@3", "repositories/file/foo/versions/3", "repositories/file/foo"),
        ("foo@latest", "repositories/file/foo", "repositories/file/foo"),
        ("file/foo@0", "repositories/file/foo/versions/0", "repositories/file/foo"),
    ],
)
def test_versions_lock_their_repository(given: str, name: str, lock: str) -> None:
    """A version is named by number, or is the latest; its repository is what is locked."""
    message = file_pb2.Copy(source=given, repository="bar", all=True)

    found = binding.read(view_of(message), message)

    assert name == found[0].name
    assert {lock: False, "repositories/file/bar": True} == binding.locks(found)


def test_exclusive_wins() -> None:
    """A repository that is both source and target is locked exclusively, once."""
    message = file_pb2.Copy(source="foo", repository="foo", all=True)

    found = binding.read(view_of(message), message)

    assert binding.locks(found) == {"repositories/file/foo": True}


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (file_pb2.Sync(repository="rpm/foo", remote="bar"), "repository"),
        (file_pb2.Sync(repository="foo@3", remote="bar"), "repository"),
        (file_pb2.Sync(repository="foo", remote="b" * 129), "remote"),
        (file_pb2.Copy(source="f" * 129 + "@3", repository="foo"), "source"),
        (file_pb2.Copy(source="foo@x", repository="foo"), "source"),
        (file_pb2.Copy(source="foo@-1", repository="foo"), "source"),
        (file_pb2.Upload(repository="foo", upload="uploads/x"), "upload"),
    ],
)
def test_what_cannot_be_a_name_is_refused(message: Message, field: str) -> None:
    """Another plugin's resources, versions where none are meant, and nonsense name their field."""
    with pytest.raises(FieldInvalidError) as caught:
        binding.read(view_of(message), message)

    assert [field] == [violation.field for violation in caught.value.violations]


def test_references_lie_inside_of_messages() -> None:
    """A name in a repeated message is found, completed, and named in errors with its index."""
    message = file_pb2.Upload(
        repository="foo",
        files=[
            file_pb2.Upload.Entry(upload=UPLOAD),
            file_pb2.Upload.Entry(url="http://x/"),
            file_pb2.Upload.Entry(upload=UPLOAD),
        ],
    )
    wrong = file_pb2.Upload(
        repository="foo",
        files=[file_pb2.Upload.Entry(upload=UPLOAD), file_pb2.Upload.Entry(upload="uploads/x")],
    )

    found = binding.read(view_of(message), message)
    with pytest.raises(FieldInvalidError) as caught:
        binding.read(view_of(wrong), wrong)

    assert [
        ("repository", "repository"),
        ("files.upload", "files[0].upload"),
        ("files.upload", "files[2].upload"),
    ] == [(one.role, one.field) for one in found]
    assert f"uploads/{UPLOAD}" == message.files[2].upload == found[2].name
    assert ["files[1].upload"] == [violation.field for violation in caught.value.violations]


def test_content_and_uploads_are_not_locked() -> None:
    """What cannot change needs no lock."""
    message = file_pb2.Upload(repository="foo", upload=UPLOAD)

    found = binding.read(view_of(message), message)

    assert f"uploads/{UPLOAD}" == found[1].name
    assert binding.locks(found) == {"repositories/file/foo": True}
