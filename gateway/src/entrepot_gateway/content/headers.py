"""The header fields of every answer of the content origin."""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING

from entrepot_gateway.content.disposition import disposition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Scope

    from entrepot_gateway.content.conditions import Representation
    from entrepot_gateway.content.files import File

HeaderList = list[tuple[bytes, bytes]]

# Nothing that strangers published may act in a browser, and all of it can move.
COMMON: HeaderList = [
    (b"cache-control", b"no-cache"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"sandbox; default-src 'none'"),
]

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


def file_headers(file: File) -> HeaderList:
    """Header fields of a file, except for its length."""
    headers = [*COMMON, (b"content-type", file.media_type.encode("ascii"))]
    how = disposition(file.media_type, file.name)
    if how:
        headers.append((b"content-disposition", how))
    return headers + validators(file)


def validators(what: Representation) -> HeaderList:
    """By what a client can ask later whether anything has changed (RFC 9110, section 8.8)."""
    headers: HeaderList = []
    if what.tag:
        headers.append((b"etag", what.tag))
    if what.time:
        headers.append((b"last-modified", formatdate(what.time, usegmt=True).encode("ascii")))
    return headers
