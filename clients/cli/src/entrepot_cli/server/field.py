"""What a field of a message is: its other names, its enum words, what it refers to, its rules."""

import re
from functools import cache
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from entrepot.plugin.v1 import describe_pb2

ANY = "google.protobuf.Any"
DURATION = "google.protobuf.Duration"
STATUS = "google.rpc.Status"
TIMESTAMP = "google.protobuf.Timestamp"

# In core's own messages, which carry no annotations, these fields name resources.
_CORE = "entrepot.core.v1."
_CORE_REFERENCES = {
    "repository": describe_pb2.RESOURCE_KIND_REPOSITORY,
    "version": describe_pb2.RESOURCE_KIND_REPOSITORY_VERSION,
    "publication": describe_pb2.RESOURCE_KIND_PUBLICATION,
}

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@cache
def enum_words(enum: EnumDescriptor) -> dict[int, str]:
    """The word for each number: `STATE_WAITING` of `State` is "waiting"."""
    prefix = _WORD.sub("_", enum.name).upper() + "_"
    return {value.number: value.name.removeprefix(prefix).lower() for value in enum.values}


@cache
def enum_numbers(enum: EnumDescriptor) -> dict[str, int]:
    """The number for each word that means something."""
    words = enum_words(enum).items()
    return {word: number for number, word in words if not word.endswith("unspecified")}


def fields_of(message: Any) -> list[FieldDescriptor]:  # noqa: ANN401, two kinds of descriptor
    """The fields of a message, in its own order."""
    return list(message.fields)


def aliases(field: FieldDescriptor) -> list[str]:
    """Other names a client may use for a field."""
    return list(field.GetOptions().Extensions[describe_pb2.aliases])


def reference_kind(field: FieldDescriptor) -> describe_pb2.ResourceKind.ValueType:
    """The kind of resource a field names; zero if it names none."""
    if field.full_name.startswith(_CORE) and field.name in _CORE_REFERENCES:
        return _CORE_REFERENCES[field.name]
    reference: describe_pb2.Reference = field.GetOptions().Extensions[describe_pb2.reference]
    return reference.kind


def is_required(field: FieldDescriptor) -> bool:
    """Say whether a field must be set."""
    return field_behavior_pb2.REQUIRED in _behavior(field)


def is_output_only(field: FieldDescriptor) -> bool:
    """Say whether a field is the server's to set."""
    return field_behavior_pb2.OUTPUT_ONLY in _behavior(field)


def is_map(field: FieldDescriptor) -> bool:
    """Say whether a field is a map."""
    kind = field.message_type
    return field.is_repeated and kind is not None and bool(kind.GetOptions().map_entry)


def message_name(field: FieldDescriptor) -> str:
    """Full name of the message a field holds; empty if it holds none."""
    return field.message_type.full_name if field.message_type is not None else ""


@cache
def _behavior(field: FieldDescriptor) -> tuple[int, ...]:
    extension = field_behavior_pb2.field_behavior
    return tuple(field.GetOptions().Extensions[extension])
