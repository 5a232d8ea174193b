"""Errors that only HTTP has, and what HTTP adds to the document of any: its headers, its id."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from entrepot_rpc import problem
from entrepot_rpc.errors import Code, ServiceError
from entrepot_rpc.problem import InputError

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

MEDIA_TYPE = "application/problem+json"

# How many errors the sentence for people names; the list has all.
SHOWN = 3


class InputRefusedError(ServiceError):
    """The request cannot be read as what it should be."""

    code = Code.INVALID_ARGUMENT
    reason = "FIELD_INVALID"

    def __init__(self, errors: Sequence[InputError]) -> None:
        first = " ".join(error.detail for error in errors[:SHOWN])
        more = f" And {len(errors) - SHOWN} more." if len(errors) > SHOWN else ""
        super().__init__(f"{first}{more}")
        self.errors = tuple(errors)


class ProblemError(ServiceError):
    """An error that HTTP has a status for and gRPC has not."""

    def __init__(
        self,
        http_status: int,
        reason: str,
        message: str,
        *,
        code: Code = Code.INVALID_ARGUMENT,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.http_status = http_status
        self.headers = headers or {}


def refuse(
    pointer: str, detail: str, reason: str = "FIELD_INVALID", where: str = ""
) -> InputRefusedError:
    """A refusal for one reason."""
    return InputRefusedError([InputError(pointer, reason, detail, where)])


def not_found(reason: str, message: str, **metadata: str) -> ServiceError:
    """There is nothing at this address."""
    return ServiceError.of(Code.NOT_FOUND, reason, message, metadata=metadata)


def http_status(error: ServiceError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, ProblemError):
        return error.http_status
    return problem.http_status(error.code)


def document(
    error: ServiceError, instance: str, request_id: str = "", query: Container[str] = ()
) -> dict[str, Any]:
    """The document of an error, with what only a request has.

    `query` has the names of the parameters, if the request has no body that could have them.
    """
    body = problem.document(error, instance)
    body["status"] = http_status(error)
    if isinstance(error, InputRefusedError):
        body["errors"] = [item.document() for item in error.errors]
    for item in body.get("errors", ()):
        # Core does not know where a field came from.
        if item["pointer"].removeprefix("#/") in query:
            item.setdefault("in", "query")
    if request_id:
        body["request_id"] = request_id
    return body


def headers(error: ServiceError, *, bearer: bool = True) -> dict[str, str]:
    """Header fields that belong to the error."""
    result = dict(error.headers) if isinstance(error, ProblemError) else {}
    wait = error.retry_after_seconds
    if wait is None and error.code == Code.UNAVAILABLE:
        wait = 1
    if wait is not None:
        result["Retry-After"] = str(max(1, math.ceil(wait)))
    if error.code == Code.UNAUTHENTICATED and bearer:
        result["WWW-Authenticate"] = 'Bearer realm="entrepot"'
    return result
