"""Whether a declaration holds together, and whether it may replace the one before it. Pure."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from google.protobuf.descriptor import FieldDescriptor

from entrepot.plugin.v1 import describe_pb2
from entrepot_core.domain.paths import fault_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import Descriptor

    from entrepot_core.plugins.descriptors import ContentTypeView, Declaration, TaskTypeView

__all__ = ["faults", "incompatibilities"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_COLLECTION = re.compile(r"[a-z][a-z0-9_]{0,62}")
_LABEL = re.compile(r"[ -~]{0,128}")
_TYPE = describe_pb2.TaskType

# Fields that core's ready-made work reads: name, whether it is repeated, whether it must be there.
_MANY = (describe_pb2.RESOURCE_KIND_CONTENT, describe_pb2.RESOURCE_KIND_UPLOAD)
_READY_MADE: dict[int, tuple[tuple[str, bool, bool], ...]] = {
    _TYPE.IMPLEMENTATION_CORE_ADD: (("repository", False, True), ("content", True, True)),
    _TYPE.IMPLEMENTATION_CORE_REMOVE: (
        ("repository", False, True),
        ("content", True, False),
        ("filter", False, False),
        ("all", False, False),
        ("cascade", False, False),
    ),
    _TYPE.IMPLEMENTATION_CORE_COPY: (
        ("source", False, True),
        ("repository", False, True),
        ("content", True, False),
        ("filter", False, False),
        ("all", False, False),
    ),
}
_REFERENCE_FIELDS = {"repository", "source", "content"}
_BOOLEANS = {"all", "cascade"}


def faults(declaration: Declaration) -> list[str]:
    """What is wrong with a declaration by itself, each in a sentence; empty: nothing."""
    return list(_faults(declaration))


def incompatibilities(old: Declaration, new: Declaration) -> list[str]:
    """Why a declaration cannot replace another, each in a sentence; empty: it can."""
    return list(_incompatibilities(old, new))


def _faults(declaration: Declaration) -> Iterator[str]:
    if not _NAME.fullmatch(declaration.name) or declaration.name == "core":
        yield f'"{declaration.name}" is not a usable name for a plugin.'
    for name in ("version", "instance_id"):
        if not _LABEL.fullmatch(getattr(declaration.response, name)):
            yield f"{name} must have at most 128 printable ASCII characters."
    if declaration.response.max_concurrent_attempts < 1:
        yield "max_concurrent_attempts must be at least 1."
    yield from _repeated(
        [view.parameters_message for view in declaration.task_types],
        "is the parameters of two task types.",
    )
    yield from _repeated([view.name for view in declaration.task_types], "is declared twice.")
    yield from _repeated([view.name for view in declaration.content_types], "is declared twice.")
    yield from _repeated(
        [view.collection for view in declaration.content_types],
        "are the units of two content types.",
    )
    for view in declaration.task_types:
        yield from _task_faults(declaration, view)
    for content_type in declaration.content_types:
        yield from _content_faults(declaration, content_type)
    for resource_type in declaration.response.resource_types:
        if (
            resource_type.spec_message
            and declaration.descriptor(resource_type.spec_message) is None
        ):
            yield f"The message {resource_type.spec_message} is not in its proto files."


def _repeated(names: list[str], what: str) -> Iterator[str]:
    for name, count in Counter(names).items():
        if count > 1:
            yield f"{name} {what}"


def _task_faults(declaration: Declaration, view: TaskTypeView) -> Iterator[str]:
    if not _COLLECTION.fullmatch(view.declared.collection):
        yield f'"{view.declared.collection}" is not a usable name for a task type.'
    if view.declared.implementation not in _TYPE.Implementation.values():
        yield f"Who does {view.name} is not known: {view.declared.implementation}."
    result = view.declared.result_message
    if result and declaration.descriptor(result) is None:
        yield f"The result message {result} of {view.name} is not in its proto files."
    descriptor = declaration.descriptor(view.parameters_message)
    if descriptor is None:
        return
    for reference in view.references:
        if reference.field.cpp_type != FieldDescriptor.CPPTYPE_STRING:
            yield f"The reference {reference.role} of {view.name} is not a string field."
        if reference.kind == describe_pb2.RESOURCE_KIND_UNSPECIFIED:
            yield f"The reference {reference.role} of {view.name} does not say what it names."
        if reference.is_many and reference.kind not in _MANY:
            yield (
                f"The reference {reference.role} of {view.name} names several resources, which "
                "only references to content and uploads can."
            )
    yield from _ready_made_faults(view, descriptor)


def _ready_made_faults(view: TaskTypeView, descriptor: Descriptor) -> Iterator[str]:
    roles = {reference.role for reference in view.references}
    for name, is_repeated, is_needed in _READY_MADE.get(view.declared.implementation, ()):
        field = descriptor.fields_by_name.get(name)
        if field is None:
            if is_needed:
                yield f"{view.name} is core's work and has no field {name} in its parameters."
            continue
        if field.is_repeated != is_repeated:
            yield f"The field {name} of {view.name} is {'not ' if is_repeated else ''}repeated."
        expected = (
            FieldDescriptor.CPPTYPE_BOOL if name in _BOOLEANS else FieldDescriptor.CPPTYPE_STRING
        )
        if field.cpp_type != expected:
            yield f"The field {name} of {view.name} has the wrong type for core's work."
        if name in _REFERENCE_FIELDS and name not in roles:
            yield f"The field {name} of {view.name} is core's work and not marked as a reference."


def _content_faults(declaration: Declaration, view: ContentTypeView) -> Iterator[str]:
    if view.name.partition(".")[0] != declaration.name or not view.name.partition(".")[2]:
        yield f'The content type "{view.name}" must be named "{declaration.name}.<name>".'
    if not _COLLECTION.fullmatch(view.collection):
        yield f'"{view.collection}" is not a usable name for the units of {view.name}.'
    descriptor = declaration.descriptor(view.attributes_message)
    if descriptor is None:
        yield f"The attributes message {view.attributes_message} is not in its proto files."
        return
    for index in view.declared.indexes:
        if fault := fault_of(index.path):
            yield f'The path "{index.path}" of an index of {view.name} cannot be served: {fault}'
        if "\n" in index.line or "\r" in index.line:
            yield f"The line of the index {index.path} of {view.name} is not one line."
    if not view.key_fields:
        yield f"The content type {view.name} has no key fields."
    for name in (
        *view.key_fields,
        *view.repository_key_fields,
        *view.filterable_fields,
    ):
        field = descriptor.fields_by_name.get(name)
        if field is None:
            yield f"{view.attributes_message} has no field {name}."
        elif field.is_repeated or field.message_type is not None:
            yield f"The field {name} of {view.attributes_message} must be a single scalar."


def _incompatibilities(old: Declaration, new: Declaration) -> Iterator[str]:
    new_tasks = {view.name: view for view in new.task_types}
    for task in old.task_types:
        if task.name not in new_tasks:
            yield f"The task type {task.name} was removed."
        elif new_tasks[task.name].parameters_message != task.parameters_message:
            yield f"The parameters of {task.name} were {task.parameters_message}."
    new_content = {view.name: view for view in new.content_types}
    for content in old.content_types:
        replacement = new_content.get(content.name)
        if replacement is None:
            yield f"The content type {content.name} was removed."
            continue
        if replacement.collection != content.collection:
            yield f"The units of {content.name} were named {content.collection}."
        if replacement.attributes_message != content.attributes_message:
            yield f"The attributes of {content.name} were {content.attributes_message}."
        for what, before, after in (
            ("key", content.declared.key_fields, replacement.declared.key_fields),
            (
                "repository key",
                content.declared.repository_key_fields,
                replacement.declared.repository_key_fields,
            ),
        ):
            if list(before) != list(after):
                yield f"The {what} of {content.name} was {', '.join(before) or 'none'}."
    old_messages = {
        *(view.parameters_message for view in old.task_types),
        *(view.attributes_message for view in old.content_types),
        *(one.spec_message for one in old.response.resource_types if one.spec_message),
    }
    for name in sorted(old_messages):
        yield from _field_changes(old.descriptor(name), new.descriptor(name))


def _field_changes(old: Descriptor | None, new: Descriptor | None) -> Iterator[str]:
    # What is stored must mean the same when it is read with the new types.
    if old is None or new is None:
        return
    for field in old.fields:
        other = new.fields_by_number.get(field.number)
        if other is None:
            yield f"The field {field.name} of {old.full_name} was removed."
        elif other.name != field.name:
            yield f"The field {field.name} of {old.full_name} was renamed to {other.name}."
        elif other.type != field.type or other.is_repeated != field.is_repeated:
            yield f"The field {field.name} of {old.full_name} changed its type."
