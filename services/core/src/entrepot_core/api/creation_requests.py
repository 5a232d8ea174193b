"""Requests that create something, and may be sent again when their answer was lost."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from entrepot_core.domain.errors import FieldInvalidError
from entrepot_core.store import creation_requests
from entrepot_rpc.request_id import RULE, is_allowed

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from entrepot_core.store.database import Cursor

__all__ = ["CreationRequests", "check_request_id"]


class CreationRequests:
    """Tells a request that is sent again from a new one, by its caller and its `request_id`."""

    def __init__(self, principal_of: Callable[[grpc.ServicerContext], str]) -> None:
        """`principal_of` says who calls."""
        self._principal_of = principal_of

    def earlier(
        self,
        cursor: Cursor,
        context: grpc.ServicerContext,
        request: Any,  # noqa: ANN401  a message with a request_id
        resource: str,
    ) -> str | None:
        """The name of what the same request made before; None if it is to be made now.

        To be called in the transaction that makes it. Raises RequestIdReusedError if the id was
        used for another request, and FieldInvalidError if it cannot be one.
        """
        if not request.request_id:
            return None
        check_request_id(request.request_id)
        principal = self._principal_of(context)
        digest = _digest(request, principal)
        return creation_requests.claim(cursor, principal, request.request_id, digest, resource)


def check_request_id(request_id: str) -> None:
    """Raises FieldInvalidError if it cannot be one; none is none."""
    if request_id and not is_allowed(request_id):
        raise FieldInvalidError.at("request_id", f"A request id {RULE}.")


def _digest(request: Any, principal: str) -> bytes:  # noqa: ANN401  as above
    content = type(request)()
    content.CopyFrom(request)
    content.ClearField("request_id")
    # Slow and salted, as there may be a password in it that could be guessed.
    return hashlib.scrypt(
        f"{request.DESCRIPTOR.full_name}\n".encode()
        + content.SerializeToString(deterministic=True),
        salt=f"{principal}\n{request.request_id}".encode(),
        n=2**12,
        r=8,
        p=1,
        dklen=32,
    )
