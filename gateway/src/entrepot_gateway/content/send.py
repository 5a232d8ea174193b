"""Sends a stored file, whole or in parts, or says that it has not changed."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from entrepot_gateway.content.conditions import is_other, is_unchanged, wanted_ranges
from entrepot_gateway.content.headers import file_headers
from entrepot_gateway.content.ranges import NotSatisfiableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Send

    from entrepot_gateway.content.blobs import Blobs, OpenBlob
    from entrepot_gateway.content.files import File
    from entrepot_gateway.content.headers import HeaderList
    from entrepot_gateway.content.ranges import Range


async def send_file(
    send: Send,
    blobs: Blobs,
    file: File,
    request: Mapping[bytes, bytes],
    *,
    is_head: bool,
    can_send_path: bool,
) -> bool:
    """Answer with a stored file; False, and nothing sent, if its bytes are not there."""
    headers = file_headers(file)
    headers.append((b"accept-ranges", b"bytes"))
    if is_other(file, request):
        headers.append((b"content-length", b"0"))
        await _head(send, 412, headers)
        return True
    if is_unchanged(file, request):
        await _head(send, 304, headers)
        return True
    try:
        ranges = None if is_head else wanted_ranges(file, request)
    except NotSatisfiableError:
        headers.append((b"content-range", b"bytes */%d" % file.size))
        headers.append((b"content-length", b"0"))
        await _head(send, 416, headers)
        return True
    blob = await blobs.open(file.sha256, None if is_head else _first(file, ranges))
    if blob is None:
        return False
    try:
        if blob.size != file.size:
            return False
        if ranges is not None:
            await _send_ranges(send, blob, headers, file, ranges)
            return True
        headers.append((b"content-length", b"%d" % file.size))
        if is_head:
            await _head(send, 200, headers)
            return True
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if can_send_path and blob.path and file.size:
            await send({"type": "http.response.pathsend", "path": blob.path})
        else:
            await blob.send(send, 0, file.size - 1)
            await send({"type": "http.response.body", "body": b""})
    finally:
        blob.close()
    return True


def _first(file: File, ranges: list[Range] | None) -> Range:
    return ranges[0] if ranges else (0, file.size - 1)


async def _send_ranges(
    send: Send, blob: OpenBlob, headers: HeaderList, file: File, ranges: list[Range]
) -> None:
    if len(ranges) == 1:
        first, last = ranges[0]
        headers.append((b"content-range", b"bytes %d-%d/%d" % (first, last, file.size)))
        headers.append((b"content-length", b"%d" % (last - first + 1)))
        await send({"type": "http.response.start", "status": 206, "headers": headers})
        await blob.send(send, first, last)
        await send({"type": "http.response.body", "body": b""})
        return
    boundary = secrets.token_hex(16).encode("ascii")
    parts = [
        b"--%s\r\nContent-Type: %s\r\nContent-Range: bytes %d-%d/%d\r\n\r\n"
        % (boundary, file.media_type.encode("ascii"), first, last, file.size)
        for first, last in ranges
    ]
    end = b"--%s--\r\n" % boundary
    length = len(end) + sum(
        len(part) + last - first + 1 + 2 for part, (first, last) in zip(parts, ranges, strict=True)
    )
    headers = [item for item in headers if item[0] != b"content-type"]
    headers.append((b"content-type", b"multipart/byteranges; boundary=" + boundary))
    headers.append((b"content-length", b"%d" % length))
    await send({"type": "http.response.start", "status": 206, "headers": headers})
    for part, (first, last) in zip(parts, ranges, strict=True):
        await send({"type": "http.response.body", "body": part, "more_body": True})
        await blob.send(send, first, last)
        await send({"type": "http.response.body", "body": b"\r\n", "more_body": True})
    await send({"type": "http.response.body", "body": end})


async def _head(send: Send, status: int, headers: HeaderList) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
