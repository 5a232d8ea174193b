"""Core's services as HTTP sees them: one binding for each google.api.http rule.

Names the services of core and no plugin. A service that is added to the protos is added here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from google.api import annotations_pb2
from google.protobuf import message_factory

from entrepot.core.v1 import (
    content_service_pb2,
    distribution_service_pb2,
    limit_service_pb2,
    plugin_service_pb2,
    publication_service_pb2,
    remote_service_pb2,
    repository_service_pb2,
    status_service_pb2,
    task_service_pb2,
    token_service_pb2,
    upload_service_pb2,
)
from entrepot_gateway.template import Template
from entrepot_rpc.field import message_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.api import http_pb2
    from google.protobuf.descriptor import Descriptor, FileDescriptor, MethodDescriptor
    from google.protobuf.message import Message

_SERVICES = (
    repository_service_pb2.DESCRIPTOR,
    remote_service_pb2.DESCRIPTOR,
    distribution_service_pb2.DESCRIPTOR,
    publication_service_pb2.DESCRIPTOR,
    content_service_pb2.DESCRIPTOR,
    task_service_pb2.DESCRIPTOR,
    upload_service_pb2.DESCRIPTOR,
    token_service_pb2.DESCRIPTOR,
    plugin_service_pb2.DESCRIPTOR,
    limit_service_pb2.DESCRIPTOR,
    status_service_pb2.DESCRIPTOR,
)


@dataclass(frozen=True, slots=True)
class Binding:
    """One way to call an rpc over HTTP."""

    rpc: MethodDescriptor
    http_method: str
    template: Template
    # Field of the request that the body is; "*": all of it; empty: none.
    body: str
    # Field of the response that the answer is; empty: all of it.
    response_body: str

    def new_request(self) -> Message:
        """An empty request."""
        return message_factory.GetMessageClass(self.rpc.input_type)()

    @property
    def bound(self) -> frozenset[str]:
        """Fields of the request that the path binds."""
        return frozenset(variable.field for variable in self.template.variables)

    @property
    def body_type(self) -> Descriptor | None:
        """Message that the body is read as; None if there is no body."""
        if not self.body:
            return None
        if self.body == "*":
            return self.rpc.input_type
        return self.rpc.input_type.fields_by_name[self.body].message_type

    @property
    def answer_type(self) -> Descriptor:
        """Message that is answered."""
        if self.response_body:
            return message_of(self.rpc.output_type.fields_by_name[self.response_body])
        return self.rpc.output_type


@cache
def core_bindings() -> tuple[Binding, ...]:
    """Every binding of core's services, the most specific first."""
    found = [binding for file in _SERVICES for binding in _of_file(file)]
    return tuple(sorted(found, key=lambda item: -item.template.literals))


def _of_file(file: FileDescriptor) -> Iterator[Binding]:
    for service in file.services_by_name.values():
        for rpc in service.methods:
            options = rpc.GetOptions()
            if options.HasExtension(annotations_pb2.http):
                rule = options.Extensions[annotations_pb2.http]
                for one in (rule, *rule.additional_bindings):
                    yield _of_rule(rpc, one)


def _of_rule(rpc: MethodDescriptor, rule: http_pb2.HttpRule) -> Binding:
    pattern = rule.WhichOneof("pattern") or ""
    return Binding(
        rpc=rpc,
        http_method=pattern.upper(),
        template=Template.parse(getattr(rule, pattern)),
        body=rule.body,
        response_body=rule.response_body,
    )
