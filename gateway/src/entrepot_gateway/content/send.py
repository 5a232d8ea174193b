"""Sends a stored file, whole or in parts, or says that it has not changed."""

from __future__ import annotations

import asyncio
import os
import secrets
from email.utils import formatdate, parsedate_to_datetime
from typing import TYPE_CHECKING

from entrepot_gateway.content.ranges import NotSatisfiableError, parse_ranges

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Send

    from entrepot_gateway.content.blob_folder import BlobFolder
    from entrepot_gateway.content.files import File
    from entrepot_gateway.content.ranges import Range

HeaderList = list[tuple[bytes, bytes]]

CHUNK_BYTES = 512 * 1024

# Nothing that strangers published may act in a browser, and all of it can move.
COMMON: HeaderList = [
    (b"cache-control", b"no-cache"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"sandbox; default-src 'none'"),
]


class BrokenConnectionError(Exception):
    """The answer cannot be completed, and must not look as if it were."""


def file_headers(file: File) -> HeaderList:
    """Header fields of a file, except for its length."""
    headers = [*COMMON, (b"content-type", file.media_type.encode("ascii"))]
    if file.sha256:
        headers.append((b"etag", f'"{file.sha256}"'.encode("ascii")))
    if file.time:
        headers.append((b"last-modified", formatdate(file.time, usegmt=True).encode("ascii")))
    return headers


def is_unchanged(file: File, headers: Mapping[bytes, bytes]) -> bool:
    """Say whether the client has the file already (RFC 9110, section 13.2.2)."""
    tags = headers.get(b"if-none-match")
    if tags is not None:
        return _is_named(file, tags, weakly=True)
    since = headers.get(b"if-modified-since")
    if since is None or not file.time:
        return False
    seconds = _seconds(since.decode("latin-1"))
    return seconds is not None and file.time <= seconds


def is_other(file: File, headers: Mapping[bytes, bytes]) -> bool:
    """Say whether the client wants another file than this (RFC 9110, section 13.2.2)."""
    tags = headers.get(b"if-match")
    if tags is not None:
        return not _is_named(file, tags, weakly=False)
    since = headers.get(b"if-unmodified-since")
    if since is None or not file.time:
        return False
    seconds = _seconds(since.decode("latin-1"))
    return seconds is not None and file.time > seconds


def wanted_ranges(file: File, headers: Mapping[bytes, bytes]) -> list[Range] | None:
    """The ranges to send; None for the whole file."""
    header = headers.get(b"range")
    if header is None:
        return None
    condition = headers.get(b"if-range")
    if condition is not None and not _is_same(file, condition.decode("latin-1").strip()):
        return None
    return parse_ranges(header.decode("latin-1"), file.size)


async def send_file(
    send: Send,
    folder: BlobFolder,
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
    descriptor = folder.open(file.sha256)
    if descriptor is None:
        return False
    try:
        size = os.fstat(descriptor).st_size
        if size != file.size:
            return False
        if ranges is not None:
            await _send_ranges(send, descriptor, headers, file, ranges)
            return True
        headers.append((b"content-length", b"%d" % size))
        if is_head:
            await _head(send, 200, headers)
            return True
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if can_send_path and size:
            await send({"type": "http.response.pathsend", "path": folder.path(file.sha256)})
        else:
            await _send_bytes(send, descriptor, 0, size)
            await send({"type": "http.response.body", "body": b""})
    finally:
        os.close(descriptor)
    return True


async def _send_ranges(
    send: Send, descriptor: int, headers: HeaderList, file: File, ranges: list[Range]
) -> None:
    if len(ranges) == 1:
        first, last = ranges[0]
        headers.append((b"content-range", b"bytes %d-%d/%d" % (first, last, file.size)))
        headers.append((b"content-length", b"%d" % (last - first + 1)))
        await send({"type": "http.response.start", "status": 206, "headers": headers})
        await _send_bytes(send, descriptor, first, last + 1)
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
        await _send_bytes(send, descriptor, first, last + 1)
        await send({"type": "http.response.body", "body": b"\r\n", "more_body": True})
    await send({"type": "http.response.body", "body": end})


async def _send_bytes(send: Send, descriptor: int, start: int, end: int) -> None:
    loop = asyncio.get_running_loop()
    while start < end:
        count = min(CHUNK_BYTES, end - start)
        # Small pieces come from memory, as a rule; large ones may wait for the disk.
        if count < CHUNK_BYTES:
            chunk = os.pread(descriptor, count, start)
        else:
            chunk = await loop.run_in_executor(None, os.pread, descriptor, count, start)
        if not chunk:
            raise BrokenConnectionError("the file is shorter than it was")
        start += len(chunk)
        await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _head(send: Send, status: int, headers: HeaderList) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _is_named(file: File, tags: bytes, *, weakly: bool) -> bool:
    own = {"*", f'"{file.sha256}"', f'W/"{file.sha256}"' if weakly else "*"}
    return bool(file.sha256) and any(
        tag.strip() in own for tag in tags.decode("latin-1").split(",")
    )


def _is_same(file: File, condition: str) -> bool:
    if condition.startswith(('"', "W/")):
        return bool(file.sha256) and condition == f'"{file.sha256}"'
    return bool(file.time) and _seconds(condition) == file.time


def _seconds(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
