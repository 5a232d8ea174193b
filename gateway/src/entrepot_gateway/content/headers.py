"""The header fields of every answer of the content origin."""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING

from entrepot_gateway.content.disposition import disposition
from entrepot_gateway.content.listing import POLICY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Scope

    from entrepot_gateway.content.conditions import Representation
    from entrepot_gateway.content.files import File

HeaderList = list[tuple[bytes, bytes]]

# All of it can move, and nothing that strangers published may act in a browser.
COMMON: HeaderList = [
    (b"cache-control", b"no-cache"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"sandbox; default-src 'none'"),
]

# A path with a version's number names the same bytes as long as its distribution serves the same
# repository; a day bounds what a client could miss if that is changed.
_FIXED = (b"cache-control", b"max-age=86400, immutable")

_OF_UNCHANGED = frozenset({b"cache-control", b"etag", b"last-modified", b"vary"})


def fields_of(scope: Scope) -> Mapping[bytes, bytes]:
    """The header fields of a request; lines of one name are one list (RFC 9110, section 5.3)."""
    lines = scope["headers"]
    fields = dict(lines)
    if len(fields) != len(lines):
        fields = {}
        for name, value in lines:
            fields[name] = fields[name] + b", " + value if name in fields else value
    return fields


def unchanged_headers(headers: HeaderList) -> HeaderList:
    """Those that a 304 has as well (RFC 9110, section 15.4.5)."""
    return [item for item in headers if item[0] in _OF_UNCHANGED]


def file_headers(file: File, *, is_immutable: bool = False) -> HeaderList:
    """Header fields of a file, except for its length; its path may name it for ever."""
    common = [_FIXED, *COMMON[1:]] if is_immutable else COMMON
    headers = [*common, (b"content-type", file.media_type.encode("ascii"))]
    how = disposition(file.media_type, file.name)
    if how:
        headers.append((b"content-disposition", how))
    return headers + validators(file)


def list_headers(media_type: bytes, what: Representation) -> HeaderList:
    """Header fields of a list that is written for this client, in one of several forms."""
    return [
        *(item for item in COMMON if item[0] != b"content-security-policy"),
        (b"content-security-policy", POLICY),
        (b"content-type", media_type),
        (b"vary", b"accept, accept-encoding"),
        *validators(what),
    ]


def validators(what: Representation) -> HeaderList:
    """By what a client can ask later whether anything has changed (RFC 9110, section 8.8)."""
    headers: HeaderList = []
    if what.tag:
        headers.append((b"etag", what.tag))
    if what.time:
        headers.append((b"last-modified", formatdate(what.time, usegmt=True).encode("ascii")))
    return headers
