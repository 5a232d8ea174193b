"""The bytes of an upload, from the client's body to core as they come: never all in memory."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from entrepot.core.v1 import upload_service_pb2, upload_service_pb2_grpc
from entrepot_gateway.answer import JsonAnswer
from entrepot_gateway.core import service_error
from entrepot_gateway.problem import refuse
from entrepot_rpc import correlation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from entrepot_gateway.call import Call
    from entrepot_gateway.core import Core

    WriteCall = grpc.aio.StreamUnaryCall[
        upload_service_pb2.WriteUploadRequest, upload_service_pb2.WriteUploadResponse
    ]

CHUNK_BYTES = 512 * 1024
# As much as core takes in one message.
MOST_BYTES = 1024 * 1024
# Core gives up an upload that nothing comes for; this is for one that goes on and on.
LONGEST_SECONDS = 6 * 3600.0
# How often, and how long between, to look for the status of a call that has ended.
_LOOKS = 200
_LOOK_SECONDS = 0.005
_OVERTAKEN = "Internal error from Core"

_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_NOTHING_MORE = re.compile(r"bytes \*/([0-9]{1,18})")
T = TypeVar("T")

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
        # A body that ended early must not look like one that ended.
        opening.ends = True
        body = _measured(_chunks(call.request.stream()), length)
        stream = self._stub.WriteUpload(
            metadata=call.credentials + correlation.outgoing(), timeout=LONGEST_SECONDS
        )
        verdict = _Verdict(stream)
        try:
            if length == 0:
                # What says that all have come must not be believed before it is seen to be empty.
                await anext(body, None)
            await stream.write(WriteUploadRequest(open=opening))
            async for chunk in body:
                await stream.write(WriteUploadRequest(chunk=chunk))
            await stream.write(WriteUploadRequest(end=WriteUploadRequest.End()))
            await stream.done_writing()
            response = await stream
        except (grpc.RpcError, asyncio.InvalidStateError):
            # Core has ended the call already. What a write says of that is not why.
            response = await verdict.response()
        except ClientDisconnect:
            return Response(status_code=499)
        finally:
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


class _Verdict:
    """What core says of a call, whatever grpc says of a write that core's answer overtook.

    Such a write sets the status "internal" for good, before or after that of core is read.
    """

    def __init__(self, stream: WriteCall) -> None:
        self._stream = stream
        self._code: grpc.StatusCode | None = None
        self._said: tuple[str, grpc.aio.Metadata] = ("", grpc.aio.Metadata())
        stream.add_done_callback(self._look)

    async def response(self) -> upload_service_pb2.WriteUploadResponse:
        """Core's answer; ServiceError if it refused."""
        # Nobody is told when a status replaces another.
        for _ in range(_LOOKS):
            if self._code is not None or await self._stream.details() != _OVERTAKEN:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        if self._code not in (None, grpc.StatusCode.OK):
            details, trailing = self._said
            raise service_error(
                grpc.aio.AioRpcError(self._code, grpc.aio.Metadata(), trailing, details)
            )
        try:
            return await self._stream
        except grpc.RpcError as error:
            raise service_error(error) from None

    def _look(self, _: object) -> None:
        code, details = _now(self._stream.code()), _now(self._stream.details())
        if self._code is None and details != _OVERTAKEN:
            self._code, self._said = code, (details, _now(self._stream.trailing_metadata()))


def _now(known: Coroutine[Any, Any, T]) -> T:
    """The value of a coroutine that has nothing to wait for."""
    try:
        known.send(None)
    except StopIteration as ended:
        return ended.value  # type: ignore[no-any-return]
    raise RuntimeError


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
