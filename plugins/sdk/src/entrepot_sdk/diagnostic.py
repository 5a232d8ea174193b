"""What is wrong, or doubtful, about a request; checked before a task is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.api import field_behavior_pb2

from entrepot.type.v1.diagnostic_pb2 import Diagnostic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

__all__ = ["Diagnostic", "error", "missing_fields", "warning"]


def error(reason: str, message: str, field: str = "") -> Diagnostic:
    """The request cannot be accepted; `field` is a path such as "sources[2].url"."""
    return Diagnostic(
        severity=Diagnostic.SEVERITY_ERROR, reason=reason, message=message, field=field
    )


def warning(reason: str, message: str, field: str = "") -> Diagnostic:
    """The request is accepted, and this is kept with the task."""
    return Diagnostic(
        severity=Diagnostic.SEVERITY_WARNING, reason=reason, message=message, field=field
    )


def missing_fields(parameters: Message) -> Iterator[Diagnostic]:
    """An error for each field that the protos call required and the request leaves empty."""
    for field in parameters.DESCRIPTOR.fields:
        behavior = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
        if field_behavior_pb2.REQUIRED in behavior and not getattr(parameters, field.name):
            yield error("FIELD_REQUIRED", f"{field.name} is required.", field.name)
