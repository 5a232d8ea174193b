"""Who calls, by the token of the call. What an attempt's allows is the workspace's business."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any

import grpc

from entrepot_core.domain.errors import (
    PermissionDeniedError,
    ServiceError,
    UnauthenticatedError,
)
from entrepot_core.store.api_tokens import ADMIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from entrepot_core.api.callers import Callers

__all__ = ["Authenticator", "attempt_token"]

_OPEN = ("grpc.health.", "grpc.reflection.")
_FOR_ATTEMPTS = ("entrepot.core.v1.WorkspaceService", "entrepot.core.v1.BlobService")
_FOR_CONTENT = ("entrepot.core.v1.ServingService",)
_FOR_ADMIN = ("entrepot.core.v1.TokenService",)


class Authenticator(grpc.ServerInterceptor):
    """Refuses calls without a token that allows their service. Health and reflection are open."""

    def __init__(self, callers: Callers, content_token: str) -> None:
        self._callers = callers
        self._content = _digest(content_token)

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:  # noqa: ANN401  grpc's types
        """Passes the call on, or has it refused where errors become statuses."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        service = handler_call_details.method.split("/")[1]
        try:
            refusal = self._refusal(
                service, _authorization(handler_call_details.invocation_metadata)
            )
        except ServiceError as error:
            refusal = error
        return handler if refusal is None else _refusing(handler, refusal)

    def principal_of(self, context: grpc.ServicerContext) -> str:
        """Who makes a call that was let through with a user's token."""
        _, _, token = _authorization(context.invocation_metadata()).partition(" ")
        principal = self._callers.principal(token)
        if principal is None:
            # Revoked in this very moment.
            raise UnauthenticatedError("The token is not valid.")
        return principal

    def _refusal(self, service: str, authorization: str) -> ServiceError | None:
        if service.startswith(_OPEN):
            return None
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "attempt":
            if service in _FOR_ATTEMPTS:
                return None
            return PermissionDeniedError(f"The token of an attempt does not allow {service}.")
        if scheme.lower() != "bearer" or not token:
            return UnauthenticatedError(
                "The token is not valid."
                if token
                else "A token is needed: send it as `authorization: Bearer <token>`."
            )
        # Both are compared, whatever the first says: time must not tell them apart.
        is_content = _equal(_digest(token), self._content)
        is_admin = self._callers.is_admin(token)
        if is_content and not is_admin:
            if service in _FOR_CONTENT:
                return None
            return PermissionDeniedError(
                f"The token of the content origin does not allow {service}."
            )
        principal = ADMIN if is_admin else self._callers.principal(token)
        if principal is None:
            return UnauthenticatedError("The token is not valid.")
        if principal != ADMIN and service in _FOR_ADMIN:
            return PermissionDeniedError(
                "Only the administrator's token may do this: that of ENTREPOT_TOKEN, or of the "
                "file token in ENTREPOT_HOME."
            )
        return None


def attempt_token(context: grpc.ServicerContext) -> str | None:
    """The token of the attempt that calls; None if a user does."""
    scheme, _, token = _authorization(context.invocation_metadata()).partition(" ")
    return token if scheme.lower() == "attempt" else None


def _authorization(metadata: Any) -> str:  # noqa: ANN401  pairs of key and value
    for key, value in metadata or ():
        if key == "authorization":
            return value if isinstance(value, str) else ""
    return ""


def _digest(token: str) -> bytes | None:
    return hashlib.sha256(token.encode()).digest() if token else None


def _equal(one: bytes | None, other: bytes | None) -> bool:
    return one is not None and other is not None and hmac.compare_digest(one, other)


def _refusing(handler: Any, error: ServiceError) -> Any:  # noqa: ANN401  grpc's types
    def refuse(_request: Any, _context: Any) -> Any:  # noqa: ANN401
        raise error

    make: Callable[..., Any] = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[(handler.request_streaming, handler.response_streaming)]
    return make(refuse, handler.request_deserializer, handler.response_serializer)
