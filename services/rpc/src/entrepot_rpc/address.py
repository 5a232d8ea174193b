"""Where a resource is over REST: whatever a get answers by its name has an address."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote

from google.api import annotations_pb2

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, MethodDescriptor

__all__ = ["PREFIX", "has_address", "href"]

PREFIX = "/api/v3"

# REST leads to core's own services, whatever the proto files of a plugin say.
_CORE = "entrepot.core.v1"


# What may stand in a path (RFC 3986, section 3.3); what may not is in no name that core gave.
_PLAIN = "/!$&'()*+,;=:@"


def href(name: str) -> str:
    """The address of a resource; none of one without a name, as what is only validated."""
    return f"{PREFIX}/{quote(name, safe=_PLAIN)}/" if name else ""


@lru_cache(maxsize=4096)
def has_address(message: Descriptor) -> bool:
    """Say whether messages of this type have an address, made from their `name`."""
    if message.file.package != _CORE:
        return False
    # A resource stands in the same file as its service.
    return any(
        message.full_name == _answered_by_name(rpc)
        for service in message.file.services_by_name.values()
        for rpc in service.methods
    )


def _answered_by_name(rpc: MethodDescriptor) -> str:
    """Full name of the message that a GET answers whose path binds `name`; empty if it is none."""
    rule = rpc.GetOptions().Extensions[annotations_pb2.http]
    if not rule.response_body or not rule.get.startswith(
        (f"{PREFIX}/{{name=", f"{PREFIX}/{{name}}")
    ):
        return ""
    answer = rpc.output_type.fields_by_name[rule.response_body].message_type
    return answer.full_name if answer is not None else ""
