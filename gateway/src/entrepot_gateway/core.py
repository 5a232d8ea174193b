"""Core as the gateway calls it: any rpc by its descriptor, with the credentials of the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import grpc
import grpc.aio
from google.protobuf import message_factory

from entrepot_rpc import correlation, status
from entrepot_rpc.channel import connect_async, metadata
from entrepot_rpc.errors import Code, ServiceError

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor
    from google.protobuf.message import Message

# Long enough for a plugin's Validate (10 s) behind it.
CALL_SECONDS = 30.0

Credentials = tuple[tuple[str, str], ...]

_TRANSPORT = {
    Code.UNAVAILABLE: ("CORE_UNAVAILABLE", "Core does not answer. It may be starting; try again."),
    Code.DEADLINE_EXCEEDED: ("CORE_UNAVAILABLE", "Core did not answer in time."),
    # Whoever asked is there, or nobody would read this: it was core that ended the call.
    Code.CANCELLED: ("CORE_UNAVAILABLE", "Core ended while it worked on this. Try again."),
    Code.UNAUTHENTICATED: ("UNAUTHENTICATED", "No token, or not a valid one."),
    Code.PERMISSION_DENIED: ("PERMISSION_DENIED", "The token does not allow this."),
    Code.RESOURCE_EXHAUSTED: ("REQUEST_TOO_LARGE", "The request or its answer is too large."),
}


class Core:
    """A connection to core, shared by all requests of this process."""

    def __init__(self, target: str, token: str = "") -> None:
        self.channel = connect_async(target)
        # What the gateway itself may do; never used for what a user asks.
        self.own = credentials(f"Bearer {token}" if token else None)
        self._calls: dict[str, Any] = {}

    async def call(
        self,
        method: MethodDescriptor,
        request: Message,
        caller: Credentials,
        seconds: float = CALL_SECONDS,
    ) -> Message:
        """The response of a unary rpc."""
        call = self._calls.get(method.full_name)
        if call is None:
            response = message_factory.GetMessageClass(method.output_type)
            call = self.channel.unary_unary(
                f"/{method.containing_service.full_name}/{method.name}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=response.FromString,
            )
            self._calls[method.full_name] = call
        try:
            origin = correlation.outgoing()
            return cast("Message", await call(request, timeout=seconds, metadata=caller + origin))
        except grpc.RpcError as error:
            raise service_error(error) from None

    async def close(self) -> None:
        """Ends every call."""
        await self.channel.close()


def credentials(authorization: str | None) -> Credentials:
    """Call metadata for the value of an Authorization header: core decides what it is worth."""
    if not authorization or not authorization.isascii() or not authorization.isprintable():
        return ()
    scheme, _, token = authorization.partition(" ")
    return metadata(token.strip(), scheme)


def service_error(error: grpc.RpcError) -> ServiceError:
    """The error of a failed call; a transport's own words are replaced by ours."""
    if status.has_status(error):
        return status.from_rpc_error(error)
    known = status.from_rpc_error(error)
    reason, message = _TRANSPORT.get(
        known.code, ("INTERNAL", "Something went wrong in core. Its log has more.")
    )
    if known.code == Code.UNIMPLEMENTED:
        reason, message = "ROUTE_UNKNOWN", "This core does not know the call: it is older."
    retry = 1.0 if reason == "CORE_UNAVAILABLE" else None
    code = Code.UNAVAILABLE if known.code == Code.CANCELLED else known.code
    return ServiceError.of(code, reason, message, retry_after_seconds=retry)
