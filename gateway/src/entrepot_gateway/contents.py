"""Lists of content units, filtered by the fields that their plugin declares as filterable."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from entrepot.core.v1 import content_service_pb2
from entrepot_gateway.answer import JsonAnswer
from entrepot_gateway.body import Words
from entrepot_rpc.field import descriptor_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.descriptor import FieldDescriptor
    from starlette.responses import Response

    from entrepot_gateway.call import Call
    from entrepot_gateway.catalog import ContentType
    from entrepot_gateway.core import Core
    from entrepot_gateway.decoder import Decoder

_LIST = content_service_pb2.DESCRIPTOR.services_by_name["ContentService"].methods_by_name[
    "ListContent"
]


class Contents:
    """Answers the collections of content."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def of_type(self, call: Call, plugin: str, collection: str) -> Response:
        """GET of a content type's collection."""
        content_type = call.catalog.content_type(plugin, collection)
        return await self._list(call, f"content/{plugin}/{collection}", [content_type])

    async def of_version(self, call: Call, parent: str) -> Response:
        """GET of the content of a repository version."""
        plugin = call.catalog.plugins.get(parent.split("/")[1])
        types = list(plugin.contents.values()) if plugin else []
        wanted = call.query.get("content_type")
        if isinstance(wanted, Words):
            types = [item for item in types if item.name in wanted]
        return await self._list(call, parent, types)

    async def _list(self, call: Call, parent: str, types: list[ContentType]) -> Response:
        request = content_service_pb2.ListContentRequest()
        own = request.DESCRIPTOR.fields_by_name
        fields = _filterable(types)
        conditions = {
            name: call.query.pop(name)
            for name in list(call.query)
            if name in fields and name not in own
        }
        reader = call.decoder("query")
        reader.message(call.query, request, given=("parent",), partial=True)
        terms = [_condition(fields[name], words, reader) for name, words in conditions.items()]
        _name_the_fields(reader, fields)
        reader.finish()
        request.parent = parent
        if terms:
            # A filter alone stays as it was sent, so that positions in errors are the client's.
            given = [f"({request.filter})"] if request.filter else []
            request.filter = " AND ".join([*given, *terms])
        response = await self._core.call(_LIST, request, call.credentials)
        return JsonAnswer(call.encoder.answer(response))


def quote(text: str) -> str:
    """A string of AIP-160."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _filterable(types: Iterable[ContentType]) -> dict[str, FieldDescriptor]:
    return {
        name: descriptor_of(item.attributes).fields_by_name[name]
        for item in types
        for name in item.filterable
        if name in descriptor_of(item.attributes).fields_by_name
    }


def _condition(field: FieldDescriptor, words: object, reader: Decoder) -> str:
    """`field = value`, or one of several values."""
    if not isinstance(words, Words):
        reader.wrong(f"#/{field.name}", "FIELD_TYPE", f"{field.name} is one value.")
        return ""
    terms = []
    for word in words:
        value = reader.scalar(field, word)
        if value is not None:
            terms.append(f"{field.name} = {_literal(field, value)}")
    return terms[0] if len(terms) == 1 else f"({' OR '.join(terms)})"


def _literal(field: FieldDescriptor, value: object) -> str:
    if field.enum_type is not None:
        return quote(field.enum_type.values_by_number[cast("int", value)].name)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else quote(str(value))


def _name_the_fields(reader: Decoder, fields: dict[str, FieldDescriptor]) -> None:
    """Say what can be filtered by, where something else was tried."""
    if not fields:
        return
    for index, error in enumerate(reader.errors):
        if error.reason == "FIELD_UNKNOWN":
            detail = f"{error.detail} Filter by: {', '.join(fields)}."
            reader.errors[index] = type(error)(error.pointer, error.reason, detail, error.where)
