"""Strict reading of protobuf messages.

Unknown fields, unknown enum values and missing fields are errors, each with its path.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from entrepot_core.domain.errors import FieldInvalidError, Violation
from entrepot_rpc.field import descriptor_of, is_map, is_required, message_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.descriptor import Descriptor, FieldDescriptor
    from google.protobuf.message import Message

__all__ = ["check", "parse", "serialize"]

_MAX_VIOLATIONS = 20


def parse(message_class: type[Message], data: bytes, field: str) -> Message:
    """The message these bytes are; FieldInvalidError at `field` if they are not one."""
    message = message_class()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        name = message_class.DESCRIPTOR.full_name
        raise FieldInvalidError.at(field, f"the bytes are not a {name}.") from error
    return message


def check(message: Message, prefix: str = "") -> None:
    """Raises FieldInvalidError for all fields that are unknown, missing or not of their enum.

    Paths are in google.rpc.BadRequest syntax, after `prefix`: "sources[2].url".
    """
    violations = []
    for violation in _violations(message, prefix):
        violations.append(violation)
        if len(violations) == _MAX_VIOLATIONS:
            break
    if violations:
        text = " ".join(f"{v.field}: {v.message}" if v.field else v.message for v in violations)
        raise FieldInvalidError(text, violations=tuple(violations))


def serialize(message: Message) -> bytes:
    """The bytes of a message, equal for equal messages of one schema."""
    return message.SerializeToString(deterministic=True)


def _violations(message: Message, prefix: str) -> Iterator[Violation]:
    where = prefix.rstrip(".")
    for unknown in cast("Iterable[Any]", UnknownFieldSet(message)):
        yield Violation(
            where, f"{message.DESCRIPTOR.full_name} has no field number {unknown.field_number}."
        )
    for field in _with_rules(descriptor_of(message)):
        path = f"{prefix}{field.name}"
        if is_required(field) and not _is_set(message, field):
            yield Violation(path, "is required.")
        elif _is_set(message, field):
            yield from _value_violations(field, getattr(message, field.name), path)


@lru_cache(maxsize=4096)
def _with_rules(descriptor: Descriptor) -> tuple[FieldDescriptor, ...]:
    """The fields that can be wrong: required ones, and those of enums and messages."""
    return tuple(
        field
        for field in descriptor.fields
        if is_required(field) or field.enum_type is not None or field.message_type is not None
    )


def _value_violations(field: FieldDescriptor, value: Any, path: str) -> Iterator[Violation]:  # noqa: ANN401  any field
    values: list[tuple[str, Any]]
    if is_map(field):
        values = [(f'{path}["{key}"]', item) for key, item in value.items()]
        field = message_of(field).fields_by_name["value"]
    elif field.is_repeated:
        values = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    else:
        values = [(path, value)]
    if field.enum_type is not None:
        for where, item in values:
            if item not in field.enum_type.values_by_number:
                names = ", ".join(v.name for v in field.enum_type.values)
                yield Violation(where, f"{item} is not one of {names}.")
    elif field.message_type is not None:
        for where, item in values:
            yield from _violations(item, f"{where}.")


def _is_set(message: Message, field: FieldDescriptor) -> bool:
    if field.is_repeated:
        return len(getattr(message, field.name)) > 0
    if field.has_presence:
        return message.HasField(field.name)
    return bool(getattr(message, field.name) != field.default_value)
