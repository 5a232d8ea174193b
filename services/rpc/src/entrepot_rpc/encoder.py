"""Messages as JSON, for REST and for scripts alike, by the rules of docs/adr/0008-rest-json.md.

- Names are the proto's own, in snake_case. A field without presence is always there; a message, an
  `optional` field or an enum that nothing was said about is left out.
- A field that is only ever sent, such as a password, is left out.
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
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError

from entrepot_rpc import problem, status
from entrepot_rpc.address import has_address, href
from entrepot_rpc.field import (
    ANY,
    DURATION,
    FIELD_MASK,
    STATUS,
    TIMESTAMP,
    descriptor_of,
    enum_words,
    is_input_only,
    is_map,
    is_unspecified,
    message_of,
    spec_field,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

__all__ = ["Encoder", "Json", "list_field"]

Json = dict[str, Any]

_TEXT_FORMS = frozenset({TIMESTAMP, DURATION, FIELD_MASK})
_FLOATS = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)


class Encoder:
    """Writes messages as JSON.

    Args:
        resolve: The message that a type URL stands for; None if no plugin declares it.
        hidden: What stands for a value that is only ever sent; None leaves its field out.
    """

    def __init__(
        self,
        resolve: Callable[[str], type[Message] | None] = lambda _url: None,
        hidden: str | None = None,
    ) -> None:
        self._resolve = resolve
        self._hidden = hidden

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
        """An object with the fields of a message.

        Args:
            message: What to write.
            instance: The address of what it is a part of, for problems in it.
        """
        descriptor = descriptor_of(message)
        is_resource = has_address(descriptor)
        if is_resource:
            instance = href(message.name)  # type: ignore[attr-defined]
        result: Json = {}
        for field in descriptor.fields:
            if field is spec_field(descriptor):
                self._merge_spec(result, message)
            elif is_input_only(field):
                self._hide(result, field, message)
            elif _is_set(field, message):
                result[field.name] = self._value(field, getattr(message, field.name), instance)
            if is_resource and field.name == "name":
                result["href"] = instance
        return result

    def _merge_spec(self, result: Json, message: Message) -> None:
        if message.HasField("spec"):
            taken = message.DESCRIPTOR.fields_by_name
            spec = self._any(message.spec, "")  # type: ignore[attr-defined]
            result |= {key: value for key, value in spec.items() if key not in taken}

    def _hide(self, result: Json, field: FieldDescriptor, message: Message) -> None:
        value = getattr(message, field.name)
        if value and self._hidden is not None:
            shown = dict.fromkeys(value, self._hidden) if is_map(field) else self._hidden
            result[field.name] = shown

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

    def _embedded(self, message: Any, instance: str) -> Any:
        name = message.DESCRIPTOR.full_name
        if name in _TEXT_FORMS:
            return message.ToJsonString()
        if name == ANY:
            return self._any(message, instance)
        if name == STATUS:
            return problem.document(status.from_status(message), instance)
        if name.startswith("google.protobuf."):
            return _well_known(message)
        return self.message(message, instance)

    def _any(self, packed: Any, instance: str) -> Json:
        known = self._resolve(packed.type_url)
        if known is not None:
            try:
                return self.message(known.FromString(packed.value), instance)
            except DecodeError:
                pass
        return {
            "@type": packed.type_url,
            "value": base64.b64encode(packed.value).decode("ascii"),
        }


def list_field(response: Descriptor) -> FieldDescriptor | None:
    """The field that is `results` of a list: the only one, or the only one beside the token."""
    fields = [field for field in response.fields if field.name != "next_page_token"]
    if len(fields) == 1 and fields[0].is_repeated and fields[0].message_type is not None:
        return fields[0]
    return None


def _is_set(field: FieldDescriptor, message: Message) -> bool:
    if field.has_presence:
        return message.HasField(field.name)
    if field.enum_type is not None and not field.is_repeated:
        return not is_unspecified(field.enum_type, getattr(message, field.name))
    return True


def _well_known(message: Message) -> Any:
    """A Struct and its like, which have a form of their own in JSON."""
    # Rare, and slow to import for a command that only lists.
    from google.protobuf import json_format  # noqa: PLC0415

    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def _key(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)
