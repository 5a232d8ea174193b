"""Messages as JSON, by the rules of the REST API, so that scripts see the same names everywhere.

Names are the proto's own, enum values are words in lower case, 64-bit integers are numbers, times
are RFC 3339, durations "30s". What an Any holds is a plain object, and the fields of a resource's
`spec` stand beside its own. What has an address carries it as `href`.
"""

import base64
from typing import Any, cast

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from entrepot_cli.output import Json
from entrepot_cli.server.declaration import Declarations
from entrepot_cli.server.field import (
    ANY,
    DURATION,
    STATUS,
    TIMESTAMP,
    enum_words,
    fields_of,
    is_map,
)
from entrepot_rpc.errors import ServiceError
from entrepot_rpc.status import from_status

_HAVE_ADDRESSES = frozenset(
    f"entrepot.core.v1.{name}"
    for name in (
        "Content", "Distribution", "Plugin", "Publication", "Remote", "Repository", "Task",
        "Upload", "Version",
    )
)  # fmt: skip


def as_json(message: Message, declarations: Declarations | None = None) -> Json:
    """An object with the fields of a message."""
    result: Json = {}
    has_address = message.DESCRIPTOR.full_name in _HAVE_ADDRESSES
    for field in fields_of(message.DESCRIPTOR):
        if not _is_set(message, field):
            continue
        value = getattr(message, field.name)
        if has_address and field.name == "spec" and declarations:
            spec = _any(value, declarations)
            result |= {key: one for key, one in spec.items() if key not in result}
        else:
            result[field.name] = _value(field, value, declarations)
        if has_address and field.name == "name":
            result["href"] = f"/api/v3/{value}/"
    return result


def error_as_json(error: ServiceError) -> Json:
    """An error with the names of a problem document."""
    result: Json = {"reason": error.reason, "detail": error.message, "domain": error.domain}
    if error.metadata:
        result["metadata"] = dict(error.metadata)
    if error.violations:
        result["errors"] = [
            {"field": one.field, "detail": one.message} for one in error.violations
        ]
    return result


def _is_set(message: Message, field: FieldDescriptor) -> bool:
    if field.has_presence:
        return message.HasField(field.name)
    if field.enum_type is not None and not field.is_repeated:
        word = enum_words(field.enum_type).get(getattr(message, field.name), "")
        return not word.endswith("unspecified")
    return True


def _value(field: FieldDescriptor, value: Any, declarations: Declarations | None) -> Any:  # noqa: ANN401
    if is_map(field):
        item = cast("Any", field.message_type).fields_by_name["value"]
        return {str(key): _single(item, one, declarations) for key, one in sorted(value.items())}
    if field.is_repeated:
        return [_single(field, one, declarations) for one in value]
    return _single(field, value, declarations)


def _single(field: FieldDescriptor, value: Any, declarations: Declarations | None) -> Any:  # noqa: ANN401
    if field.message_type is not None:
        return _embedded(value, declarations)
    if field.enum_type is not None:
        return enum_words(field.enum_type).get(value, value)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return base64.b64encode(value).decode()
    return value


def _embedded(message: Message, declarations: Declarations | None) -> Any:  # noqa: ANN401
    name = message.DESCRIPTOR.full_name
    if name in (TIMESTAMP, DURATION):
        return cast("Any", message).ToJsonString()
    if name == ANY:
        return _any(cast("AnyMessage", message), declarations)
    if name == STATUS:
        return error_as_json(from_status(cast("Status", message)))
    return as_json(message, declarations)


def _any(packed: AnyMessage, declarations: Declarations | None) -> Json:
    kind = declarations.message(packed.type_url) if declarations else None
    if kind is None:
        return {"@type": packed.type_url, "value": base64.b64encode(packed.value).decode()}
    return as_json(kind.FromString(packed.value), declarations)
