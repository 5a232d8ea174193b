"""What a field of a message is: its names, its enum words, its rules, what it holds.

Field names are those of the proto. Enum values lose the prefix that protobuf style demands and are
written in lower case: `STATE_WAITING` of the enum `State` is "waiting".
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from google.api import field_behavior_pb2

from entrepot.plugin.v1 import describe_pb2

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
    from google.protobuf.message import Message

__all__ = [
    "ANY",
    "DURATION",
    "FIELD_MASK",
    "STATUS",
    "TIMESTAMP",
    "aliases",
    "descriptor_of",
    "enum_choices",
    "enum_numbers",
    "enum_of",
    "enum_words",
    "is_file_content",
    "is_input_only",
    "is_map",
    "is_output_only",
    "is_reference",
    "is_required",
    "is_unspecified",
    "message_name",
    "message_of",
    "names",
    "spec_field",
]

ANY = "google.protobuf.Any"
STATUS = "google.rpc.Status"
TIMESTAMP = "google.protobuf.Timestamp"
DURATION = "google.protobuf.Duration"
FIELD_MASK = "google.protobuf.FieldMask"

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

# Plugins come and go, and what is remembered keeps their pool.
_REMEMBERED = 4096


def descriptor_of(message: Message | type[Message]) -> Descriptor:
    """What a message consists of. The type stubs know two kinds of descriptor; there is one."""
    return cast("Descriptor", message.DESCRIPTOR)


def message_of(field: FieldDescriptor) -> Descriptor:
    """The message that a field holds, which it must."""
    return cast("Descriptor", field.message_type)


def enum_of(field: FieldDescriptor) -> EnumDescriptor:
    """The enum that a field holds, which it must."""
    return cast("EnumDescriptor", field.enum_type)


@lru_cache(maxsize=_REMEMBERED)
def enum_words(enum: EnumDescriptor) -> dict[int, str]:
    """The word for each number of an enum."""
    prefix = _WORD.sub("_", enum.name).upper() + "_"
    return {value.number: value.name.removeprefix(prefix).lower() for value in enum.values}


@lru_cache(maxsize=_REMEMBERED)
def enum_numbers(enum: EnumDescriptor) -> dict[str, int]:
    """The number for each spelling that is understood, in lower case."""
    words = enum_words(enum)
    numbers = {value.name.lower(): value.number for value in enum.values}
    return numbers | {word: number for number, word in words.items()}


def enum_choices(enum: EnumDescriptor) -> dict[str, int]:
    """The number for each word that says something, in the order of the proto."""
    return {
        word: number
        for number, word in enum_words(enum).items()
        if not is_unspecified(enum, number)
    }


def is_unspecified(enum: EnumDescriptor, number: int) -> bool:
    """Say whether a value means that nothing was said."""
    return number == 0 and enum_words(enum).get(0, "").endswith("unspecified")


@lru_cache(maxsize=_REMEMBERED)
def names(message: Descriptor) -> dict[str, FieldDescriptor]:
    """Fields by every name that is understood: their own, and their aliases."""
    found = {alias: field for field in message.fields for alias in aliases(field)}
    return found | dict(message.fields_by_name.items())


def aliases(field: FieldDescriptor) -> list[str]:
    """Other names of a field."""
    return list(field.GetOptions().Extensions[describe_pb2.aliases])


@lru_cache(maxsize=_REMEMBERED)
def is_reference(field: FieldDescriptor) -> bool:
    """Say whether a field of a task's parameters names a resource."""
    return bool(field.GetOptions().HasExtension(describe_pb2.reference))


@lru_cache(maxsize=_REMEMBERED)
def is_required(field: FieldDescriptor) -> bool:
    """Say whether a field must be set."""
    return field_behavior_pb2.REQUIRED in _behavior(field)


@lru_cache(maxsize=_REMEMBERED)
def is_output_only(field: FieldDescriptor) -> bool:
    """Say whether a field is the server's to set."""
    return field_behavior_pb2.OUTPUT_ONLY in _behavior(field)


@lru_cache(maxsize=_REMEMBERED)
def is_input_only(field: FieldDescriptor) -> bool:
    """Say whether a field is never shown: a secret."""
    return field_behavior_pb2.INPUT_ONLY in _behavior(field)


@lru_cache(maxsize=_REMEMBERED)
def is_file_content(field: FieldDescriptor) -> bool:
    """Say whether a field, or each value of a map, is a text that people keep in a file."""
    return is_input_only(field) or bool(field.GetOptions().Extensions[describe_pb2.file_content])


@lru_cache(maxsize=_REMEMBERED)
def is_map(field: FieldDescriptor) -> bool:
    """Say whether a field is a map."""
    return (
        field.is_repeated
        and field.message_type is not None
        and bool(field.message_type.GetOptions().map_entry)
    )


@lru_cache(maxsize=_REMEMBERED)
def spec_field(message: Descriptor) -> FieldDescriptor | None:
    """The field whose content stands flat beside the others: an Any named `spec`."""
    field = message.fields_by_name.get("spec")
    return field if field is not None and message_name(field) == ANY else None


def message_name(field: FieldDescriptor) -> str:
    """Full name of the message that a field holds; empty if it holds none."""
    return field.message_type.full_name if field.message_type is not None else ""


def _behavior(field: FieldDescriptor) -> tuple[int, ...]:
    return tuple(field.GetOptions().Extensions[field_behavior_pb2.field_behavior])
