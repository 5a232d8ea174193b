"""The bytes of an upload, from the client's body to core as they come: never all in memory."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import grpc
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from entrepot.core.v1 import upload_service_pb2, upload_service_pb2_grpc
from entrepot_gateway.answer import JsonAnswer
from entrepot_gateway.core import service_error
from entrepot_gateway.problem import refuse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from entrepot_gateway.call import Call
    from entrepot_gateway.core import Core

CHUNK_BYTES = 512 * 1024
# As much as core takes in one message.
MOST_BYTES = 1024 * 1024
# Core gives up an upload that nothing comes for; this is for one that goes on and on.
LONGEST_SECONDS = 6 * 3600.0

_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_NOTHING_MORE = re.compile(r"bytes \*/([0-9]{1,18})")
WriteUploadRequest = upload_service_pb2.WriteUploadRequest


class Uploads:
    """Answers PUT /api/v3/uploads/<id>/."""

    def __init__(self, core: Core) -> None:
        self._stub = upload_service_pb2_grpc.UploadServiceStub(core.channel)

    async def write(self, call: Call, name: str) -> Response:
        """Append the body; with Content-Range a part of the file, without it all of it.

        "bytes */total" with no body says that all have come.
        """
        for parameter in call.query:
            raise refuse(f"#/{parameter}", "There are no parameters here.", where="query")
        opening, length = parse_range(call.request.headers.get("content-range"))
        opening.name = name
        body = _measured(_chunks(call.request.stream()), length)
        stream = self._stub.WriteUpload(metadata=call.credentials, timeout=LONGEST_SECONDS)
        try:
            if length == 0:
                # What says that all have come must not be believed before it is seen to be empty.
                await anext(body, None)
            await stream.write(WriteUploadRequest(open=opening))
            async for chunk in body:
                await stream.write(WriteUploadRequest(chunk=chunk))
            await stream.done_writing()
            response = await stream
        except (grpc.RpcError, asyncio.InvalidStateError):
            # Core has ended the call already. What a write says of that is not why.
            response = await _verdict(stream)
        except ClientDisconnect:
            return Response(status_code=499)
        finally:
            # A body that ended early must not look like one that ended.
            stream.cancel()
        return JsonAnswer(call.encoder.message(response.upload))


def parse_range(header: str | None) -> tuple[WriteUploadRequest.Open, int | None]:
    """Where the bytes go, and how many there must be; None if that is open (RFC 9110, 14.4)."""
    if header is None:
        return WriteUploadRequest.Open(offset=0, last=True), None
    if match := _NOTHING_MORE.fullmatch(header.strip()):
        total = int(match.group(1))
        return WriteUploadRequest.Open(offset=total, last=True, size_bytes=total), 0
    match = _RANGE.fullmatch(header.strip())
    if match is None:
        raise refuse(
            "#/Content-Range",
            'Write "bytes first-last/total", each a number of bytes; total may be *.',
            where="header",
        )
    first, last = int(match.group(1)), int(match.group(2))
    total = 0 if match.group(3) == "*" else int(match.group(3))
    if last < first:
        raise refuse(
            "#/Content-Range",
            f"The last byte, {last}, comes before the first, {first}.",
            where="header",
        )
    if match.group(3) != "*" and last >= total:
        raise refuse(
            "#/Content-Range",
            f"The last byte, {last}, does not lie in a file of {total} bytes.",
            where="header",
        )
    opening = WriteUploadRequest.Open(offset=first, last=last + 1 == total, size_bytes=total)
    return opening, last - first + 1


async def _verdict(
    stream: Awaitable[upload_service_pb2.WriteUploadResponse],
) -> upload_service_pb2.WriteUploadResponse:
    try:
        return await stream
    except grpc.RpcError as error:
        raise service_error(error) from None


async def _measured(chunks: AsyncIterator[bytes], length: int | None) -> AsyncIterator[bytes]:
    """The chunks, if together they are as long as was said; None is any length."""
    received = 0
    async for chunk in chunks:
        received += len(chunk)
        if length is not None and received > length:
            raise refuse(
                "#/Content-Range",
                f"The body has more than the {length} bytes of Content-Range.",
                where="header",
            )
        yield chunk
    if length is not None and received < length:
        raise refuse(
            "#/Content-Range",
            f"The body has {received} bytes, not the {length} of Content-Range.",
            where="header",
        )


async def _chunks(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The body in pieces that a message can carry: small ones together, large ones apart."""
    held: list[bytes] = []
    size = 0
    async for part in body:
        held.append(part)
        size += len(part)
        if size >= CHUNK_BYTES:
            whole = held[0] if len(held) == 1 else b"".join(held)
            held, size = [], 0
            for start in range(0, len(whole), MOST_BYTES):
                yield whole[start : start + MOST_BYTES]
    if held:
        yield b"".join(held)
