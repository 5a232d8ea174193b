"""How a field of a message looks in JSON: its names, its enum words, its place in a body.

Field names are those of the proto. Enum values lose the prefix that protobuf style demands and are
written in lower case: `STATE_WAITING` of the enum `State` is "waiting".
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, cast

from google.api import field_behavior_pb2

from entrepot.plugin.v1 import describe_pb2

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
    from google.protobuf.message import Message

ANY = "google.protobuf.Any"
STATUS = "google.rpc.Status"
TIMESTAMP = "google.protobuf.Timestamp"
DURATION = "google.protobuf.Duration"
FIELD_MASK = "google.protobuf.FieldMask"

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def descriptor_of(message: Message | type[Message]) -> Descriptor:
    """What a message consists of. The type stubs know two kinds of descriptor; there is one."""
    return cast("Descriptor", message.DESCRIPTOR)


def message_of(field: FieldDescriptor) -> Descriptor:
    """The message that a field holds, which it must."""
    return cast("Descriptor", field.message_type)


def enum_of(field: FieldDescriptor) -> EnumDescriptor:
    """The enum that a field holds, which it must."""
    return cast("EnumDescriptor", field.enum_type)


@cache
def enum_words(enum: EnumDescriptor) -> dict[int, str]:
    """The word for each number of an enum."""
    prefix = _WORD.sub("_", enum.name).upper() + "_"
    return {value.number: value.name.removeprefix(prefix).lower() for value in enum.values}


@cache
def enum_numbers(enum: EnumDescriptor) -> dict[str, int]:
    """The number for each spelling that is understood, in lower case."""
    words = enum_words(enum)
    numbers = {value.name.lower(): value.number for value in enum.values}
    return numbers | {word: number for number, word in words.items()}


def is_unspecified(enum: EnumDescriptor, number: int) -> bool:
    """Say whether a value means that nothing was said."""
    return number == 0 and enum_words(enum).get(0, "").endswith("unspecified")


@cache
def names(message: Descriptor) -> dict[str, FieldDescriptor]:
    """Fields by every name that is understood in JSON: their own, and their aliases."""
    found = {
        alias: field
        for field in message.fields
        for alias in field.GetOptions().Extensions[describe_pb2.aliases]
    }
    return found | dict(message.fields_by_name.items())


def aliases(field: FieldDescriptor) -> list[str]:
    """Other names of a field."""
    return list(field.GetOptions().Extensions[describe_pb2.aliases])


@cache
def is_reference(field: FieldDescriptor) -> bool:
    """Say whether a field of a task's parameters names a resource."""
    return bool(field.GetOptions().HasExtension(describe_pb2.reference))


@cache
def is_required(field: FieldDescriptor) -> bool:
    """Say whether a field must be set."""
    return field_behavior_pb2.REQUIRED in _behavior(field)


@cache
def is_output_only(field: FieldDescriptor) -> bool:
    """Say whether a field is the server's to set."""
    return field_behavior_pb2.OUTPUT_ONLY in _behavior(field)


@cache
def is_map(field: FieldDescriptor) -> bool:
    """Say whether a field is a map."""
    return (
        field.is_repeated
        and field.message_type is not None
        and bool(field.message_type.GetOptions().map_entry)
    )


@cache
def spec_field(message: Descriptor) -> FieldDescriptor | None:
    """The field whose content stands flat beside the others: an Any named `spec`."""
    field = message.fields_by_name.get("spec")
    if field is not None and field.message_type and field.message_type.full_name == ANY:
        return field
    return None


def type_name(field: FieldDescriptor) -> str:
    """Full name of the message that a field holds; empty if it holds none."""
    return field.message_type.full_name if field.message_type is not None else ""


def _behavior(field: FieldDescriptor) -> tuple[int, ...]:
    return tuple(field.GetOptions().Extensions[field_behavior_pb2.field_behavior])
