"""Files whose bytes are not here yet: fetched once for all who ask, or streamed for each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc

from entrepot.core.v1 import serving_service_pb2, serving_service_pb2_grpc
from entrepot_gateway.core import service_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from entrepot_gateway.content.files import File
    from entrepot_gateway.core import Core

# Core's own limits end a download that stalls; this ends one that never would.
LONGEST_SECONDS = 6 * 3600.0


class OnDemand:
    """Asks core for bytes that only the upstream has."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._stub = serving_service_pb2_grpc.ServingServiceStub(core.channel)
        self._fetching: dict[tuple[str, str], asyncio.Task[File]] = {}

    async def fetch(self, content_set: str, path: str, file: File) -> File:
        """The file once it is stored: one download for all who wait, whoever leaves."""
        key = (content_set, path)
        task = self._fetching.get(key)
        if task is None:
            task = asyncio.create_task(self._fetch(content_set, path, file))
            self._fetching[key] = task
            task.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(task)

    async def stream(self, content_set: str, path: str) -> tuple[bytes, AsyncIterator[bytes]]:
        """The first chunk, so that a failure can still be said, and the rest."""
        call = self._stub.StreamFile(
            serving_service_pb2.StreamFileRequest(content_set=content_set, path=path),
            metadata=self._core.own,
            timeout=LONGEST_SECONDS,
        )
        chunks = aiter(call)
        try:
            first = await anext(chunks)
        except StopAsyncIteration:
            return b"", _none()
        except grpc.RpcError as error:
            raise service_error(error) from None
        except BaseException:
            call.cancel()
            raise
        return first.chunk, _rest(call, chunks)

    async def _fetch(self, content_set: str, path: str, file: File) -> File:
        try:
            answer = await self._stub.FetchFile(
                serving_service_pb2.FetchFileRequest(content_set=content_set, path=path),
                metadata=self._core.own,
                timeout=LONGEST_SECONDS,
            )
        except grpc.RpcError as error:
            raise service_error(error) from None
        return file.stored(answer.sha256, answer.size_bytes)

    def _done(self, key: tuple[str, str], task: asyncio.Task[File]) -> None:
        self._fetching.pop(key, None)
        if not task.cancelled():
            # Read it, or asyncio complains when everyone who waited has left.
            task.exception()


async def _rest(
    call: grpc.aio.UnaryStreamCall[
        serving_service_pb2.StreamFileRequest, serving_service_pb2.StreamFileResponse
    ],
    chunks: AsyncIterator[serving_service_pb2.StreamFileResponse],
) -> AsyncIterator[bytes]:
    try:
        async for response in chunks:
            yield response.chunk
    except grpc.RpcError as error:
        raise service_error(error) from None
    finally:
        call.cancel()


async def _none() -> AsyncIterator[bytes]:
    return
    yield b""
