"""The header fields of every answer of the content origin."""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entrepot_gateway.content.files import File

HeaderList = list[tuple[bytes, bytes]]

# Nothing that strangers published may act in a browser, and all of it can move.
COMMON: HeaderList = [
    (b"cache-control", b"no-cache"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"sandbox; default-src 'none'"),
]


def file_headers(file: File) -> HeaderList:
    """Header fields of a file, except for its length."""
    headers = [*COMMON, (b"content-type", file.media_type.encode("ascii"))]
    if file.sha256:
        headers.append((b"etag", f'"{file.sha256}"'.encode("ascii")))
    if file.time:
        headers.append((b"last-modified", formatdate(file.time, usegmt=True).encode("ascii")))
    return headers
