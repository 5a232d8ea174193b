"""Content units as plugins send them.

Attributes are read with the plugin's own types; key digest, repository key and filter follow.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor

from entrepot_core.domain.errors import BatchTooLargeError, FieldInvalidError
from entrepot_core.plugins import messages
from entrepot_core.plugins.descriptors import pack_bytes
from entrepot_rpc.declaration import type_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf import any_pb2
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

    from entrepot_core.plugins.catalog import Catalog
    from entrepot_core.plugins.descriptors import ContentTypeView, Declaration

__all__ = [
    "MAX_ATTRIBUTES_BYTES",
    "MAX_REPOSITORY_KEY_BYTES",
    "ParsedUnit",
    "UnitKey",
    "attributes_any",
    "parse_attributes",
    "parse_key",
    "parse_unit_name",
    "unit_name",
]

MAX_ATTRIBUTES_BYTES = 256 * 1024
MAX_REPOSITORY_KEY_BYTES = 1024

_DIGEST = re.compile(r"[0-9a-f]{64}")
_UNIT_SEGMENTS = 4


@dataclass(frozen=True, slots=True)
class UnitKey:
    """What identifies a unit everywhere: its content type's name, and the SHA-256 of its key."""

    content_type: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class ParsedUnit:
    """A unit's attributes as core keeps them."""

    content_type: ContentTypeView
    key_digest: bytes
    repository_key: str | None
    attributes: bytes
    filter: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> UnitKey:
        return UnitKey(self.content_type.name, self.key_digest)

    @property
    def name(self) -> str:
        """Its name: "content/file/files/<key digest>"."""
        return unit_name(self.content_type, self.key_digest)


def unit_name(content_type: ContentTypeView, key_digest: bytes) -> str:
    """The name of a unit, the same on every server."""
    return f"content/{content_type.plugin}/{content_type.collection}/{key_digest.hex()}"


def parse_unit_name(catalog: Catalog, name: str, field_path: str) -> UnitKey:
    """The key in a unit's full name; FieldInvalidError if it is not one of a known type."""
    segments = name.split("/")
    if (
        len(segments) == _UNIT_SEGMENTS
        and segments[0] == "content"
        and _DIGEST.fullmatch(segments[3])
    ):
        content_type = catalog.content_type_of_collection(segments[1], segments[2])
        if content_type is not None:
            return UnitKey(content_type.name, bytes.fromhex(segments[3]))
    raise FieldInvalidError.at(
        field_path,
        f'"{name}" is not a unit\'s name: content/<plugin>/<collection>/<64 hex digits, in lower '
        "case>.",
    )


def parse_attributes(
    catalog: Catalog, packed: any_pb2.Any, field_path: str, *, plugin: str | None = None
) -> ParsedUnit:
    """What core keeps of a unit's attributes, in bytes that it serialised itself.

    With `plugin`, only content types of that plugin are accepted. Errors name the field
    below `field_path`.
    """
    content_type, declaration = _resolve(catalog, packed, field_path, plugin)
    if len(packed.value) > MAX_ATTRIBUTES_BYTES:
        raise BatchTooLargeError(
            f"{field_path}: the attributes are {len(packed.value)} bytes long; at most "
            f"{MAX_ATTRIBUTES_BYTES} are allowed. Put what is large into an artifact."
        )
    message = declaration.unpack_strict(
        packed, content_type.attributes_message, field_path, f"{field_path}."
    )
    return ParsedUnit(
        content_type=content_type,
        key_digest=_key_digest(content_type, message, field_path),
        repository_key=_repository_key(content_type, message, field_path),
        attributes=messages.serialize(message),
        filter={
            name: value
            for name in content_type.filterable_fields
            if (value := _scalar(message, name, field_path)) is not None
        },
    )


def parse_key(catalog: Catalog, packed: any_pb2.Any, field_path: str) -> UnitKey:
    """The key of the unit with these key fields; the other fields are ignored."""
    content_type, declaration = _resolve(catalog, packed, field_path, None)
    message = declaration.unpack(packed, content_type.attributes_message, field_path)
    return UnitKey(content_type.name, _key_digest(content_type, message, field_path))


def attributes_any(content_type: ContentTypeView, attributes: bytes) -> any_pb2.Any:
    """The attributes as stored, packed for an answer."""
    return pack_bytes(content_type.attributes_message, attributes)


def _resolve(
    catalog: Catalog, packed: any_pb2.Any, field_path: str, plugin: str | None
) -> tuple[ContentTypeView, Declaration]:
    name = type_name(packed.type_url)
    content_type = catalog.content_type_of_message(name, field_path)
    declaration = catalog.any_plugin(content_type.plugin)
    if declaration is None or (plugin is not None and content_type.plugin != plugin):
        raise FieldInvalidError.at(
            field_path, f"{name} is no content type of the plugin {plugin}."
        )
    return content_type, declaration


def _key_digest(content_type: ContentTypeView, message: Message, field_path: str) -> bytes:
    key = type(message)()
    for name, copy in _copiers(message.DESCRIPTOR, content_type.key_fields):
        copy(key, message, name)
    data = messages.serialize(key)
    if not data:
        names = ", ".join(content_type.key_fields)
        raise FieldInvalidError.at(
            field_path, f"the key of a {content_type.name} is empty: set {names}."
        )
    return hashlib.sha256(content_type.name.encode() + b"\0" + data).digest()


@lru_cache(maxsize=1024)
def _copiers(
    descriptor: Descriptor, names: tuple[str, ...]
) -> tuple[tuple[str, Callable[[Message, Message, str], None]], ...]:
    """What copies each of these fields; asked once, as descriptors are slow to ask."""
    fields = descriptor.fields_by_name
    return tuple(
        (
            name,
            _copy_all
            if fields[name].is_repeated
            else _copy_if_set
            if fields[name].has_presence
            else _copy,
        )
        for name in names
    )


def _copy(target: Message, source: Message, name: str) -> None:
    setattr(target, name, getattr(source, name))


def _copy_if_set(target: Message, source: Message, name: str) -> None:
    if source.HasField(name):
        setattr(target, name, getattr(source, name))


def _copy_all(target: Message, source: Message, name: str) -> None:
    getattr(target, name).extend(getattr(source, name))


def _repository_key(
    content_type: ContentTypeView, message: Message, field_path: str
) -> str | None:
    names = content_type.repository_key_fields
    if not names:
        return None
    values = [_scalar(message, name, field_path) for name in names]
    if len(values) == 1:
        text = values[0] if isinstance(values[0], str) else json.dumps(values[0])
    else:
        text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    if len(text.encode()) > MAX_REPOSITORY_KEY_BYTES:
        raise FieldInvalidError.at(
            f"{field_path}.{names[0]}",
            f"the repository key ({', '.join(names)}) is longer than "
            f"{MAX_REPOSITORY_KEY_BYTES} bytes.",
        )
    return text


def _scalar(message: Message, name: str, field_path: str) -> Any:  # noqa: ANN401  a JSON scalar
    """The value of a field as JSON has it, numbers as numbers; None if it is absent."""
    value = _reader(message.DESCRIPTOR, name)(message)
    if isinstance(value, str) and "\0" in value:
        # PostgreSQL's text cannot hold it, and nothing that people filter by does.
        raise FieldInvalidError.at(f"{field_path}.{name}", "has a NUL character in it.")
    return value


@lru_cache(maxsize=4096)
def _reader(descriptor: Descriptor, name: str) -> Callable[[Message], Any]:
    """What reads one field as JSON has it; asked once, as descriptors are slow to ask."""
    field = descriptor.fields_by_name[name]
    read: Callable[[Message], Any] = attrgetter(name)
    if field.enum_type is not None:
        names = {number: one.name for number, one in field.enum_type.values_by_number.items()}
        convert: Callable[[Any], Any] | None = names.__getitem__
    elif field.type == FieldDescriptor.TYPE_BYTES:
        convert = _base64
    elif field.cpp_type in {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}:
        convert = _finite
    else:
        convert = None
    if not field.has_presence:
        return read if convert is None else lambda message: convert(read(message))
    return lambda message: (
        None
        if not message.HasField(name)
        else read(message)
        if convert is None
        else convert(read(message))
    )


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
