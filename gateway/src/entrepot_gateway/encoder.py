"""Messages as JSON. The rules, which `decoder` reverses, are those of docs/adr/0008-rest-json.md.

- Names are the proto's own, in snake_case. A field without presence is always there; a message, an
  `optional` field or an enum that nothing was said about is left out.
- Enum values are lower-case words without their prefix; 64-bit integers are numbers; bytes are
  base64; a Timestamp is RFC 3339, a Duration "30s", a FieldMask "a,b".
- What an Any holds becomes a plain object, without "@type", if a plugin declares its message; one
  that none declares is {"@type": …, "value": base64}. In repositories, remotes and distributions
  the fields of `spec` stand beside the others.
- A google.rpc.Status, such as a task's error, is a problem document.
- Whatever has an address carries it as `href`, next to `name`. A list is
  {"results": […], "next_page_token": "…"}.
"""

# ruff: noqa: ANN401  values of JSON and fields of messages are of any type

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, Any, cast

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError

from entrepot_gateway import problem
from entrepot_gateway.binding import href, list_field, resource_types
from entrepot_gateway.field import (
    ANY,
    DURATION,
    FIELD_MASK,
    STATUS,
    TIMESTAMP,
    descriptor_of,
    enum_words,
    is_map,
    is_unspecified,
    message_of,
    spec_field,
)
from entrepot_rpc import status

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from google.rpc.status_pb2 import Status

    from entrepot_gateway.catalog import Catalog

Json = dict[str, Any]

_TEXT_FORMS = frozenset({TIMESTAMP, DURATION, FIELD_MASK})
_FLOATS = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)


class Encoder:
    """Writes messages with what the plugins of one catalog have declared."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def answer(self, message: Message) -> Json:
        """The body for a response: a list in its own shape, anything else as it is."""
        field = list_field(descriptor_of(message))
        if field is None:
            return self.message(message)
        return {
            "results": [self.message(item) for item in getattr(message, field.name)],
            "next_page_token": getattr(message, "next_page_token", ""),
        }

    def message(self, message: Message, instance: str = "") -> Json:
        """An object with the fields of a message."""
        descriptor = descriptor_of(message)
        has_address = descriptor.full_name in resource_types()
        if has_address:
            instance = href(message.name)  # type: ignore[attr-defined]
        result: Json = {}
        for field in descriptor.fields:
            if field is spec_field(descriptor):
                self._merge_spec(result, message)
            elif self._is_set(field, message):
                result[field.name] = self._value(field, getattr(message, field.name), instance)
            if has_address and field.name == "name":
                result["href"] = instance
        return result

    def _is_set(self, field: FieldDescriptor, message: Message) -> bool:
        if field.has_presence:
            return message.HasField(field.name)
        if field.enum_type is not None and not field.is_repeated:
            return not is_unspecified(field.enum_type, getattr(message, field.name))
        return True

    def _merge_spec(self, result: Json, message: Message) -> None:
        if message.HasField("spec"):
            taken = message.DESCRIPTOR.fields_by_name
            spec = self._any(message.spec, "")  # type: ignore[attr-defined]
            result |= {key: value for key, value in spec.items() if key not in taken}

    def _value(self, field: FieldDescriptor, value: Any, instance: str) -> Any:
        if is_map(field):
            item = message_of(field).fields_by_name["value"]
            return {
                _key(key): self._single(item, one, instance) for key, one in sorted(value.items())
            }
        if field.is_repeated:
            return [self._single(field, one, instance) for one in value]
        return self._single(field, value, instance)

    def _single(self, field: FieldDescriptor, value: Any, instance: str) -> Any:
        if field.message_type is not None:
            return self._embedded(value, instance)
        if field.enum_type is not None:
            return enum_words(field.enum_type).get(value, value)
        if field.type == FieldDescriptor.TYPE_BYTES:
            return base64.b64encode(value).decode("ascii")
        if field.cpp_type in _FLOATS and not math.isfinite(value):
            return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
        return value

    def _embedded(self, message: Message, instance: str) -> Any:
        name = message.DESCRIPTOR.full_name
        if name in _TEXT_FORMS:
            return cast("Any", message).ToJsonString()
        if name == ANY:
            return self._any(message, instance)
        if name == STATUS:
            return self.status(cast("Status", message), instance)
        if name.startswith("google.protobuf."):
            return json_format.MessageToDict(message, preserving_proto_field_name=True)
        return self.message(message, instance)

    def _any(self, packed: Any, instance: str) -> Json:
        known = self._catalog.message_class(packed.type_url)
        if known is not None:
            try:
                return self.message(known.FromString(packed.value), instance)
            except DecodeError:
                pass
        return {
            "@type": packed.type_url,
            "value": base64.b64encode(packed.value).decode("ascii"),
        }

    def status(self, message: Status, instance: str) -> Json:
        """A problem document for an error that is part of a resource."""
        return problem.document(status.from_status(message), instance)


def _key(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)
