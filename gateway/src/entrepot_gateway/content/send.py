"""Sends a stored file, whole or in parts, or says that it has not changed."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from entrepot_gateway.content.conditions import wanted_ranges
from entrepot_gateway.content.ranges import NotSatisfiableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from entrepot_gateway.content.answer import Answer
    from entrepot_gateway.content.blobs import Blobs, OpenBlob
    from entrepot_gateway.content.files import File
    from entrepot_gateway.content.headers import HeaderList
    from entrepot_gateway.content.ranges import Range

# Conditions that a proxy would judge again, by what it knows of the file: nothing.
_OURS = frozenset({b"if-match", b"if-unmodified-since"})


async def send_file(
    answer: Answer,
    blobs: Blobs,
    file: File,
    request: Mapping[bytes, bytes],
    headers: HeaderList,
    *,
    can_send_path: bool,
) -> bool:
    """Answer with a stored file; False, and nothing sent, if its bytes are not there.

    Raises:
        BrokenConnectionError: the bytes end early, or the client has left.

    """
    headers = [*headers, (b"accept-ranges", b"bytes")]
    if await answer.settles(file, request, headers):
        return True
    try:
        ranges = None if answer.is_head else wanted_ranges(file, request)
    except NotSatisfiableError:
        headers.append((b"content-range", b"bytes */%d" % file.size))
        headers.append((b"content-length", b"0"))
        await answer.empty(416, headers)
        return True
    blob = await blobs.open(file.sha256, None if answer.is_head else _first(file, ranges))
    if blob is None:
        return False
    try:
        if blob.size != file.size:
            return False
        if blob.location:
            await answer.lend(blob.location)
            return True
        if blob.internal_path and not answer.is_head and _OURS.isdisjoint(request):
            await answer.hand_over(headers, blob.internal_path, blob.seal)
            return True
        if ranges is not None:
            async with answer.while_client_stays():
                await _send_ranges(answer, blob, headers, file, ranges)
            return True
        headers.append((b"content-length", b"%d" % file.size))
        if answer.is_head:
            await answer.empty(200, headers)
            return True
        if can_send_path and blob.path and file.size:
            await answer.file(headers, blob.path, blob.seal)
            return True
        await answer.start(200, headers)
        async with answer.while_client_stays():
            await blob.send(answer.send, 0, file.size - 1)
            await answer.end()
    finally:
        blob.close()
    return True


def _first(file: File, ranges: list[Range] | None) -> Range:
    return ranges[0] if ranges else (0, file.size - 1)


async def _send_ranges(
    answer: Answer, blob: OpenBlob, headers: HeaderList, file: File, ranges: list[Range]
) -> None:
    if len(ranges) == 1:
        first, last = ranges[0]
        headers.append((b"content-range", b"bytes %d-%d/%d" % (first, last, file.size)))
        headers.append((b"content-length", b"%d" % (last - first + 1)))
        await answer.start(206, headers)
        await blob.send(answer.send, first, last)
        await answer.end()
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
    await answer.start(206, headers)
    for part, (first, last) in zip(parts, ranges, strict=True):
        await answer.body(part)
        await blob.send(answer.send, first, last)
        await answer.body(b"\r\n")
    await answer.body(end)
    await answer.end()
