"""What is wrong with a declaration, and which may replace which."""

from collections.abc import Callable

import pytest
from google.protobuf import descriptor_pb2

from declarations import file_plugin
from entrepot.plugin.v1 import describe_pb2
from entrepot_core.domain.errors import PluginContractViolationError
from entrepot_core.plugins.compatibility import faults, incompatibilities
from entrepot_core.plugins.descriptors import Declaration

Change = Callable[[describe_pb2.DescribeResponse], object]


def changed(change: Change) -> Declaration:
    """The file plugin with a change."""
    response = file_plugin()
    change(response)
    return Declaration(response)


def field_of(
    response: describe_pb2.DescribeResponse, message: str, name: str
) -> descriptor_pb2.FieldDescriptorProto:
    """The descriptor of a field in the declaration's own proto file."""
    file = next(f for f in response.descriptors.file if f.package == "entrepot.plugins.file.v1")
    found = next(m for m in file.message_type if m.name == message)
    return next(f for f in found.field if f.name == name)


def test_a_good_declaration_has_no_fault() -> None:
    """The file plugin's declaration holds together, and may replace itself."""
    declaration = Declaration(file_plugin())

    assert faults(declaration) == []
    assert incompatibilities(declaration, Declaration(file_plugin("0.2.0"))) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda r: setattr(r, "name", "core"), "not a usable name"),
        (lambda r: setattr(r, "version", "1\0"), "version must have"),
        (lambda r: setattr(r, "instance_id", "x" * 129), "instance_id must have"),
        (lambda r: setattr(r, "max_concurrent_attempts", 0), "at least 1"),
        (lambda r: setattr(r.task_types[0], "implementation", 99), "is not known: 99"),
        (lambda r: setattr(r.task_types[0], "collection", "adds"), "file/adds is declared twice"),
        (lambda r: r.content_types.add().CopyFrom(r.content_types[0]), "file.file is declared"),
        (lambda r: r.content_types.add(name="file.x", collection="files"), "files are the units"),
        (lambda r: setattr(r.content_types[0].indexes[0], "path", "../x"), '".." segment'),
        (lambda r: setattr(r.content_types[0].indexes[0], "line", "{path}\n"), "not one line"),
        (lambda r: setattr(r.task_types[0], "collection", "Sync!"), "not a usable name"),
        (lambda r: setattr(r.task_types[0], "result_message", "x.Y"), "not in its proto files"),
        (lambda r: r.task_types.add().CopyFrom(r.task_types[0]), "two task types"),
        (lambda r: r.content_types[0].key_fields.append("no"), "has no field no"),
        (lambda r: setattr(r.content_types[0], "name", "rpm.file"), 'named "file.'),
        (lambda r: setattr(r.resource_types[0], "spec_message", "x.Y"), "not in its proto files"),
        (
            lambda r: setattr(
                r.task_types[0], "implementation", describe_pb2.TaskType.IMPLEMENTATION_CORE_ADD
            ),
            "has no field content",
        ),
    ],
)
def test_faults_are_found(change: Change, text: str) -> None:
    """What does not hold together is said in a sentence."""
    assert any(text in fault for fault in faults(changed(change)))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda r: r.task_types.pop(0), "The task type file/syncs was removed"),
        (lambda r: r.content_types.pop(0), "The content type file.file was removed"),
        (lambda r: r.content_types[0].key_fields.pop(), "The key of file.file was"),
        (lambda r: setattr(field_of(r, "Sync", "mirror"), "name", "exact"), "renamed to exact"),
        (lambda r: setattr(field_of(r, "File", "size_bytes"), "type", 9), "changed its type"),
    ],
)
def test_incompatible_changes_are_found(change: Change, text: str) -> None:
    """What stored content or old requests rely on cannot be taken away."""
    found = incompatibilities(Declaration(file_plugin()), changed(change))

    assert any(text in one for one in found)


def test_broken_proto_files_are_refused() -> None:
    """Files that do not fit together, or lack the parameters, are a breach of the contract."""
    response = file_plugin()
    del response.descriptors.file[0]

    with pytest.raises(PluginContractViolationError, match="is broken"):
        Declaration(response)
    with pytest.raises(PluginContractViolationError, match="not in its proto files"):
        changed(lambda r: setattr(r.task_types[0], "parameters_message", "x.Y"))
