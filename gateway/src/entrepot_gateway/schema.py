"""JSON schemas of messages, by the rules of `encoder` and `decoder`, with comments as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor

from entrepot.plugin.v1 import describe_pb2
from entrepot_rpc.address import has_address
from entrepot_rpc.field import (
    ANY,
    DURATION,
    FIELD_MASK,
    STATUS,
    TIMESTAMP,
    aliases,
    enum_of,
    enum_words,
    is_input_only,
    is_map,
    is_output_only,
    is_reference,
    is_required,
    is_unspecified,
    message_name,
    message_of,
    spec_field,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.descriptor import Descriptor, EnumDescriptor

Json = dict[str, Any]

_OURS = ("entrepot.core.v1.", "entrepot.type.v1.", "entrepot.plugin.v1.")

_FORMS: dict[str, Json] = {
    TIMESTAMP: {"type": "string", "format": "date-time"},
    DURATION: {"type": "string", "pattern": r"^\d+(\.\d+)?(ns|us|ms|s|m|h|d)?$"},
    FIELD_MASK: {"type": "string"},
    ANY: {"type": "object"},
    STATUS: {"$ref": "#/components/schemas/Problem"},
}

_SCALARS: dict[int, Json] = {
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
    FieldDescriptor.CPPTYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.CPPTYPE_UINT32: {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
    FieldDescriptor.CPPTYPE_INT64: {"type": "integer", "format": "int64"},
    FieldDescriptor.CPPTYPE_UINT64: {"type": "integer", "minimum": 0},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.CPPTYPE_FLOAT: {"type": "number", "format": "float"},
}


class SchemaBook:
    """Collects the schemas that a document refers to."""

    def __init__(self, comments: Mapping[str, str]) -> None:
        self._comments = dict(comments)
        self._plugin = ""
        self.schemas: dict[str, Json] = {}

    def of_plugin(self, name: str, comments: Mapping[str, str]) -> None:
        """Go on with the messages of a plugin, whose pool is its own."""
        self._plugin = name
        self._comments = dict(comments) | self._comments

    def comment(self, full_name: str) -> str:
        """What the proto says."""
        return self._comments.get(full_name, "")

    def reference(
        self, message: Descriptor, *, partial: bool = False, spec: Descriptor | None = None
    ) -> Json:
        """A reference to the schema of a message, which is added if it is new.

        Args:
            message: what it describes.
            partial: for an update, in which nothing is required.
            spec: the plugin's own fields of this resource.

        """
        if message.full_name in _FORMS:
            return dict(_FORMS[message.full_name])
        if message.full_name.startswith("google."):
            return {}
        name = self._name(message) + ("Update" if partial else "")
        if spec_field(message) is not None and self._plugin:
            name = f"{self._plugin}.{name}"
        if name not in self.schemas:
            # Named before it is filled: messages may hold themselves.
            self.schemas[name] = {}
            self.schemas[name] = self._message(message, partial=partial, spec=spec)
        return {"$ref": f"#/components/schemas/{name}"}

    def field(self, field: FieldDescriptor) -> Json:
        """The schema of a field, comment included."""
        schema = self._plain(field)
        text = self.comment(field.full_name)
        other = aliases(field)
        if other:
            text = f"{text} Also understood: {', '.join(other)}.".strip()
        if text:
            schema = {**schema, "description": text}
        if is_output_only(field):
            schema = {**schema, "readOnly": True}
        if is_input_only(field):
            schema = {**schema, "writeOnly": True}
        if is_reference(field):
            schema = {**schema, "x-entrepot-reference": _reference(field)}
        return schema

    def is_simple(self, field: FieldDescriptor) -> bool:
        """Say whether a field can be a parameter of a query."""
        return not is_map(field) and message_name(field) in ("", TIMESTAMP, DURATION)

    def _name(self, message: Descriptor) -> str:
        for prefix in _OURS:
            if message.full_name.startswith(prefix):
                return message.full_name.removeprefix(prefix)
        package = message.file.package
        return f"{self._plugin}.{message.full_name.removeprefix(package).lstrip('.')}"

    def _message(self, message: Descriptor, *, partial: bool, spec: Descriptor | None) -> Json:
        properties: Json = {}
        fields = []
        for field in message.fields:
            if field is spec_field(message):
                own = [item for item in (spec.fields if spec else ()) if item.name != "spec"]
                fields += [item for item in own if item.name not in message.fields_by_name]
            else:
                fields.append(field)
        for field in fields:
            properties[field.name] = self.field(field)
            if field.name == "name" and has_address(message):
                properties["href"] = {
                    "type": "string",
                    "format": "uri-reference",
                    "readOnly": True,
                    "description": "Address of the resource.",
                }
        schema: Json = {"type": "object", "properties": properties}
        required = [item.name for item in fields if is_required(item) and not aliases(item)]
        if required and not partial:
            schema["required"] = required
        if text := self.comment(message.full_name):
            schema["description"] = text
        return schema

    def _plain(self, field: FieldDescriptor) -> Json:
        if is_map(field):
            return {
                "type": "object",
                "additionalProperties": self._single(message_of(field).fields_by_name["value"]),
            }
        if field.is_repeated:
            return {"type": "array", "items": self._single(field)}
        return self._single(field)

    def _single(self, field: FieldDescriptor) -> Json:
        if field.message_type is not None:
            return self.reference(message_of(field))
        if field.enum_type is not None:
            return self._enum(enum_of(field))
        if field.type == FieldDescriptor.TYPE_BYTES:
            return {"type": "string", "contentEncoding": "base64"}
        return dict(_SCALARS[field.cpp_type])

    def _enum(self, enum: EnumDescriptor) -> Json:
        words = enum_words(enum)
        values = [value for value in enum.values if not is_unspecified(enum, value.number)]
        name = enum.full_name.rpartition(".")[0]
        lines = [
            f"- `{words[value.number]}`: {text}"
            for value in values
            if (text := self.comment(f"{name}.{value.name}") or self.comment(_value_name(value)))
        ]
        schema: Json = {"type": "string", "enum": [words[value.number] for value in values]}
        if lines:
            schema["description"] = "\n".join(lines)
        return schema


def _value_name(value: Any) -> str:  # noqa: ANN401  the stubs do not know the descriptor of values
    return f"{value.type.full_name}.{value.name}"


def _reference(field: FieldDescriptor) -> Json:
    reference = field.GetOptions().Extensions[describe_pb2.reference]
    kinds = enum_words(describe_pb2.DESCRIPTOR.enum_types_by_name["ResourceKind"])
    access = describe_pb2.Reference.DESCRIPTOR.enum_types_by_name["Access"]
    return {"kind": kinds[reference.kind], "access": enum_words(access)[reference.access]}
