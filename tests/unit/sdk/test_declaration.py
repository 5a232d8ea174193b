"""Declarations: what contradicts itself is refused, and the rest is described."""

from pathlib import Path
from typing import Any

import pytest

from entrepot.plugin.v1 import describe_pb2
from entrepot.plugins.file.v1.file_pb2 import Add, File, Remove
from entrepot_sdk import ContentType, CoreWork, DeclarationError, Plugin, TaskType
from entrepot_sdk._describe import describe


def a_plugin(**changes: object) -> Plugin:
    """Make a small plugin."""
    parts: dict[str, Any] = {
        "name": "file",
        "version": "1.0.0",
        "content_types": [a_content_type()],
        "task_types": [a_task_type()],
    }
    return Plugin(**{**parts, **changes})


def a_content_type(**changes: object) -> ContentType:
    """Make a content type."""
    parts: dict[str, Any] = {
        "name": "file.file",
        "collection": "files",
        "message": File,
        "key": ["relative_path"],
    }
    return ContentType(**{**parts, **changes})


def a_task_type(**changes: object) -> TaskType[Any]:
    """Make a task type."""
    parts: dict[str, Any] = {"collection": "adds", "parameters": Add, "core": CoreWork.ADD}
    return TaskType(**{**parts, **changes})


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": "File"}, "the name of a plugin"),
        ({"task_types": [a_task_type(core=None)]}, "either run or core"),
        ({"task_types": [a_task_type(), a_task_type(parameters=Remove)]}, "declared twice"),
        ({"task_types": [a_task_type(), a_task_type(collection="more")]}, "shares its parameters"),
        ({"content_types": [a_content_type(name="rpm.package")]}, "must start with file."),
        ({"content_types": [a_content_type(key=[])]}, "has no key"),
        ({"content_types": [a_content_type(filterable=["nope"])]}, "has no field nope"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], problem: str) -> None:
    """A declaration that cannot be meant is an error when the plugin is made."""
    with pytest.raises(DeclarationError, match=problem):
        a_plugin(**changes)


def test_the_digest_follows_the_declarations() -> None:
    """Equal declarations have equal digests, and others have others, whatever the version."""
    digest = describe(a_plugin()).declaration_digest

    assert digest == describe(a_plugin(version="2.0.0")).declaration_digest
    assert digest != describe(a_plugin(task_types=[])).declaration_digest


def test_each_process_has_its_own_id() -> None:
    """Describing the same plugin in another process, or again, gives another instance id."""
    assert describe(a_plugin()).instance_id != describe(a_plugin()).instance_id


def test_only_files_that_are_needed_are_shipped() -> None:
    """The descriptors hold the plugin's own file and its imports, in order of use."""
    names = [file.name for file in describe(a_plugin()).descriptors.file]

    assert names[-1] == "entrepot/plugins/file/v1/file.proto"
    assert "entrepot/plugin/v1/describe.proto" in names
    assert "entrepot/core/v1/task_service.proto" not in names


def test_a_message_that_is_not_described_is_refused(tmp_path: Path) -> None:
    """A descriptor set without the plugin's own file is an error."""
    empty = tmp_path / "descriptors.binpb"
    empty.write_bytes(b"")

    with pytest.raises(DeclarationError, match="not in the plugin's descriptors"):
        describe(a_plugin(descriptors=empty))


def test_core_is_told_who_does_the_work() -> None:
    """A task type of core's own says so."""
    (task_type,) = describe(a_plugin()).task_types

    assert task_type.implementation == describe_pb2.TaskType.IMPLEMENTATION_CORE_ADD
    assert task_type.creates == describe_pb2.RESOURCE_KIND_REPOSITORY_VERSION
