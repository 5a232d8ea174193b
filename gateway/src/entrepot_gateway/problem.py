"""Errors as RFC 9457 documents: the one place where a gRPC status becomes an HTTP status.

The status follows the table in google/rpc/code.proto without exception. `type` is a URL relative
to this server: `/problems/<REASON>` is the page that says what the reason means.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from entrepot_gateway.comment import core_files, first_sentence, read_comments
from entrepot_rpc.errors import Code, ServiceError

if TYPE_CHECKING:
    from collections.abc import Sequence

MEDIA_TYPE = "application/problem+json"

HTTP_STATUS = {
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELLED: 499,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}

# How many errors the sentence for people names; the list has all.
SHOWN = 3

_WRAPPERS = re.compile(r"^(?:parameters|overrides|repository|remote|distribution|upload|plugin)\.")


@dataclass(frozen=True, slots=True)
class InputError:
    """One thing that is wrong with a request: where, why, and in words."""

    # A JSON pointer into the body, "#/sources/2/url"; for a parameter of the query, "#/name".
    pointer: str
    reason: str
    detail: str
    # "query", "path" or "header" if it is not the body.
    where: str = ""

    def document(self) -> dict[str, str]:
        """The member of `errors`."""
        document = {"pointer": self.pointer, "reason": self.reason, "detail": self.detail}
        return document | ({"in": self.where} if self.where else {})


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
    return HTTP_STATUS.get(error.code, 500)


def document(error: ServiceError, instance: str, request_id: str = "") -> dict[str, Any]:
    """The members of the problem, in the order of the RFC and then ours."""
    body: dict[str, Any] = {
        "type": f"/problems/{error.reason}",
        "title": title(error.reason, error.code),
        "status": http_status(error),
        "detail": error.message,
        "instance": instance,
        "code": error.code.name,
        "reason": error.reason,
        "domain": error.domain,
    }
    if error.metadata:
        body["metadata"] = dict(sorted(error.metadata.items()))
    if errors := _errors(error):
        body["errors"] = [item.document() for item in errors]
    if error.preconditions:
        body["preconditions"] = [
            {"type": item.type, "subject": item.subject, "detail": item.message}
            for item in error.preconditions
        ]
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


def title(reason: str, code: Code) -> str:
    """The fixed sentence of a reason; of its code if the reason is a plugin's."""
    text = reason_comments().get(reason)
    if text is None:
        text = code.name.replace("_", " ").capitalize()
    return first_sentence(text).rstrip(".")


@cache
def reason_comments() -> dict[str, str]:
    """What core's reasons mean, by name without prefix."""
    comments = read_comments(core_files().file)
    enum = next(
        enum
        for proto in core_files().file
        for enum in proto.enum_type
        if f"{proto.package}.{enum.name}" == "entrepot.core.v1.ErrorReason"
    )
    prefix = "ERROR_REASON_"
    return {
        value.name.removeprefix(prefix): comments.get(
            f"entrepot.core.v1.ErrorReason.{value.name}", ""
        )
        for value in enum.value
        if value.number
    }


def pointer_of(field: str) -> str:
    """A JSON pointer from a path of google.rpc.BadRequest, into the flat body that was sent.

    "parameters.sources[2].url" is "#/sources/2/url": over REST parameters and resources are not
    wrapped, and a pointer must lead somewhere.
    """
    path = _WRAPPERS.sub("", field)
    path = re.sub(r"^spec\.", "", path)
    parts = re.findall(r"[^.\[\]]+", path)
    return "#" + "".join("/" + escape(part.strip("\"'")) for part in parts)


def escape(token: str) -> str:
    """A reference token of a JSON pointer."""
    return token.replace("~", "~0").replace("/", "~1")


def _errors(error: ServiceError) -> tuple[InputError, ...]:
    if isinstance(error, InputRefusedError):
        return error.errors
    return tuple(
        InputError(pointer_of(item.field), item.reason or error.reason, item.message)
        for item in error.violations
    )
