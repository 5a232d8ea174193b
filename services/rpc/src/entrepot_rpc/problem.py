"""Errors as RFC 9457 documents: the one place where a code becomes an HTTP status.

The status follows the table in google/rpc/code.proto without exception. `type` is a URL relative
to the server: `/problems/<REASON>` is the page that says what the reason means.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from entrepot_rpc.comment import core_files, first_sentence, read_comments
from entrepot_rpc.errors import Code

if TYPE_CHECKING:
    from entrepot_rpc.errors import ServiceError

__all__ = [
    "HTTP_STATUS",
    "InputError",
    "document",
    "escape",
    "http_status",
    "pointer_of",
    "reason_comments",
    "title",
    "unescape",
]

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

_WRAPPERS = re.compile(
    r"^(?:parameters|overrides|repository|remote|distribution|upload|plugin|limit|token)\."
)
_REASON_PREFIX = "ERROR_REASON_"


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


def document(error: ServiceError, instance: str) -> dict[str, Any]:
    """The members of the problem, in the order of the RFC and then ours."""
    body: dict[str, Any] = {
        "type": f"/problems/{error.reason}",
        "title": title(error.reason, error.code),
        "status": http_status(error.code),
        "detail": error.message,
        "instance": instance,
        "code": error.code.name,
        "reason": error.reason,
        "domain": error.domain,
    }
    if error.metadata:
        body["metadata"] = dict(sorted(error.metadata.items()))
    if error.violations:
        body["errors"] = [
            InputError(
                pointer_of(item.field), item.reason or error.reason, item.message
            ).document()
            for item in error.violations
        ]
    if error.preconditions:
        body["preconditions"] = [
            {"type": item.type, "subject": item.subject, "detail": item.message}
            for item in error.preconditions
        ]
    return body


def http_status(code: Code) -> int:
    """The HTTP status of a code; what is not in the table is a fault of the server."""
    return HTTP_STATUS.get(code, 500)


def title(reason: str, code: Code) -> str:
    """The fixed sentence of a reason; of its code if the reason is a plugin's."""
    text = reason_comments().get(reason)
    if text is None:
        text = code.name.replace("_", " ").capitalize()
    return first_sentence(text)


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
    return {
        value.name.removeprefix(_REASON_PREFIX): comments.get(
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
    # A key of a map stands between quotes, whatever is in it.
    parts = re.findall(r'\["(.*)"\]|([^.\[\]]+)', path)
    return "#" + "".join("/" + escape(key or name) for key, name in parts)


def escape(token: str) -> str:
    """A reference token of a JSON pointer (RFC 6901 section 3)."""
    return token.replace("~", "~0").replace("/", "~1")


def unescape(token: str) -> str:
    """What a reference token of a JSON pointer stands for (RFC 6901 section 4)."""
    return token.replace("~1", "/").replace("~0", "~")
