"""Calls to core on behalf of one attempt: its token, its patience, its reading of refusals.

Lives in the server's loop. Knows no author code.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio

from entrepot.core.v1.blob_service_pb2 import (
    BatchWriteBlobsRequest,
    FetchBlobsRequest,
    ReadBlobRequest,
    WriteBlobRequest,
)
from entrepot.core.v1.blob_service_pb2_grpc import BlobServiceStub
from entrepot.core.v1.workspace_service_pb2 import (
    OpenWorkspaceRequest,
)
from entrepot.core.v1.workspace_service_pb2_grpc import WorkspaceServiceStub
from entrepot_rpc import correlation
from entrepot_rpc.channel import metadata
from entrepot_rpc.errors import Code, ServiceError
from entrepot_rpc.status import from_rpc_error, from_status, has_status
from entrepot_sdk.errors import FetchFailed, Refused, TaskFailed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

    from entrepot.core.v1.blob_service_pb2 import (
        FetchBlobsResponse,
        WriteBlobResponse,
    )
    from entrepot.core.v1.workspace_service_pb2 import (
        ReadContentRequest,
        StageChangesRequest,
        StageFilesRequest,
    )
    from entrepot.type.v1.content_pb2 import ContentUnit
    from entrepot.type.v1.digest_pb2 import Digest

__all__ = ["BlobWriter", "Core"]

T = TypeVar("T")

_CHUNK_BYTES = 1 << 20
# A staging call takes milliseconds; a fetch may wait for a slow upstream.
_CALL_SECONDS = 30.0
# How long core may be away before the attempt gives up, and leaves the rest to a later one.
_PATIENCE_SECONDS = 90.0
_FIRST_DELAY_SECONDS = 0.05
_LONGEST_DELAY_SECONDS = 5.0
_AWAY = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED})
# Core is there, and has been patient with its store itself.
_TRIED_BY_CORE = "STORAGE_FAILED"


class Core:
    """Core, as one attempt sees it.

    Args:
        channel: To core.
        token: Authorizes the attempt; is only ever sent.
        stop: Called with a reason when core says that the attempt is over.
    """

    def __init__(
        self, channel: grpc.aio.Channel, token: str, stop: Callable[[ServiceError], None]
    ) -> None:
        self._workspace = WorkspaceServiceStub(channel)
        self._blobs = BlobServiceStub(channel)
        # The request and the span that the attempt is made in, so made in the attempt's context.
        self._metadata = metadata(token, "Attempt") + correlation.outgoing()
        self._stop = stop

    async def open(self) -> None:
        """Returns if the attempt is the current one."""
        await self._unary(self._workspace.OpenWorkspace, OpenWorkspaceRequest())

    async def stage_changes(self, request: StageChangesRequest) -> None:
        """Stages a batch of units."""
        response = await self._unary(self._workspace.StageChanges, request)
        if response.missing_blobs:
            missing = ", ".join(one.hex for one in response.missing_blobs[:3])
            raise TaskFailed(
                "BLOB_MISSING",
                f"Core has neither the bytes nor a source for {len(response.missing_blobs)} "
                f"files: {missing}.",
                metadata={"digest": response.missing_blobs[0].hex},
            )
        self._heed(cancel_requested=response.cancel_requested)

    async def stage_files(self, request: StageFilesRequest) -> None:
        """Stages a batch of published files."""
        response = await self._unary(self._workspace.StageFiles, request)
        self._heed(cancel_requested=response.cancel_requested)

    async def read_content(
        self, request: ReadContentRequest
    ) -> AsyncGenerator[list[ContentUnit], None]:
        """The units, in batches; goes on after the last one when the connection breaks."""
        patience = _Patience()
        while True:
            try:
                call = self._workspace.ReadContent(request, metadata=self._metadata)
                with _hanging_up(call):
                    async for batch in call:
                        patience = _Patience()
                        request.cursor = batch.cursor
                        yield list(batch.units)
            except grpc.aio.AioRpcError as error:
                await self._recover(error, patience)
            else:
                return

    async def fetch(self, item: FetchBlobsRequest.Item) -> FetchBlobsResponse:
        """Lets core download a file."""
        request = FetchBlobsRequest(items=[item])
        patience = _Patience()
        while True:
            try:
                call = self._blobs.FetchBlobs(request, metadata=self._metadata)
                with _hanging_up(call):
                    async for response in call:
                        if response.status.code:
                            raise FetchFailed(from_status(response.status), item.sources[0].url)
                        return response
            except grpc.aio.AioRpcError as error:
                await self._recover(error, patience)
            else:
                lost = ServiceError.of(Code.INTERNAL, "INTERNAL", "Core left a fetch unanswered.")
                raise FetchFailed(lost, item.sources[0].url)

    async def read_blob(
        self, blob: Digest, offset: int = 0, limit: int = 0
    ) -> AsyncGenerator[bytes, None]:
        """The bytes in chunks; goes on where it was when the connection breaks."""
        request = ReadBlobRequest(blob=blob, offset=offset, limit=limit)
        patience = _Patience()
        while True:
            try:
                call = self._blobs.ReadBlob(request, metadata=self._metadata)
                with _hanging_up(call):
                    async for response in call:
                        patience = _Patience()
                        request.offset += len(response.chunk)
                        if limit:
                            request.limit -= len(response.chunk)
                        if response.chunk:
                            yield response.chunk
                        if limit and request.limit <= 0:
                            return
            except grpc.aio.AioRpcError as error:
                await self._recover(error, patience)
            else:
                return

    async def write_small(self, data: bytes, expected: Digest | None) -> Digest:
        """Stores bytes that fit into one batch."""
        item = BatchWriteBlobsRequest.Item(expected=expected, data=data)
        response = await self._unary(
            self._blobs.BatchWriteBlobs, BatchWriteBlobsRequest(items=[item])
        )
        (result,) = response.results
        if result.status.code:
            raise Refused(from_status(result.status))
        return result.blob

    def write_stream(self, expected: Digest | None) -> BlobWriter:
        """Stores bytes of any length, as they come."""
        call = self._blobs.WriteBlob(metadata=self._metadata)
        return BlobWriter(call, expected, self)

    async def _unary(self, method: Callable[..., Awaitable[T]], request: Any) -> T:  # noqa: ANN401
        """Calls until there is an answer; core takes the same request twice for one."""
        patience = _Patience()
        while True:
            try:
                return await method(request, metadata=self._metadata, timeout=_CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                await self._recover(error, patience)

    async def _recover(self, error: grpc.aio.AioRpcError, patience: _Patience) -> None:
        """Returns when it is time to try again, or raises what the error means."""
        known = from_rpc_error(error)
        is_away = known.code in _AWAY and known.reason != _TRIED_BY_CORE
        # Core says in a status of its own that a task is canceled; else it ended the call as it
        # ended itself.
        is_away |= known.code == Code.CANCELLED and not has_status(error)
        if not is_away or not await patience.wait():
            raise self.refusal(known) from None

    def refusal(self, error: ServiceError) -> BaseException:
        """What to raise for an error of core's."""
        if error.reason == "ATTEMPT_SUPERSEDED" or error.code in {
            Code.UNAUTHENTICATED,
            Code.CANCELLED,
        }:
            self._stop(error)
            return asyncio.CancelledError()
        return Refused(error)

    def _heed(self, *, cancel_requested: bool) -> None:
        if cancel_requested:
            self._stop(ServiceError.of(Code.CANCELLED, "CANCELED", "The task was canceled."))
            raise asyncio.CancelledError


class BlobWriter:
    """One blob on its way to core.

    Its bytes are seen once, so a broken connection fails the attempt.
    """

    def __init__(
        self,
        call: grpc.aio.StreamUnaryCall[WriteBlobRequest, WriteBlobResponse],
        expected: Digest | None,
        core: Core,
    ) -> None:
        self._call = call
        self._open = WriteBlobRequest(open=WriteBlobRequest.Open(expected=expected))
        self._core = core

    async def open(self) -> None:
        """Names the blob."""
        await self._send(self._open)

    async def feed(self, chunk: bytes) -> None:
        """Sends some of its bytes."""
        for start in range(0, len(chunk), _CHUNK_BYTES):
            await self._send(WriteBlobRequest(chunk=chunk[start : start + _CHUNK_BYTES]))

    async def finish(self) -> Digest:
        """The digest of what core has stored."""
        await self._step(self._call.done_writing())
        return (await self._answer()).blob

    async def abandon(self) -> None:
        """Stores nothing."""
        self._call.cancel()

    async def _send(self, request: WriteBlobRequest) -> None:
        await self._step(self._call.write(request))

    async def _step(self, step: Awaitable[None]) -> None:
        try:
            await step
        except asyncio.InvalidStateError:
            # The call is over before its time: its status says why.
            await self._answer()
            raise
        except grpc.aio.AioRpcError as error:
            raise await self._meaning(error) from None

    async def _answer(self) -> WriteBlobResponse:
        try:
            return await self._call
        except grpc.aio.AioRpcError as error:
            raise await self._meaning(error) from None

    async def _meaning(self, error: grpc.aio.AioRpcError) -> BaseException:
        known = from_rpc_error(error)
        if error.trailing_metadata():
            return self._core.refusal(known)
        # Writing into a call that core has ended often hides the status it ended with. Whether
        # the attempt is still the current one can be asked; anything else may go better next time.
        await self._core.open()
        return Refused(
            ServiceError.of(
                Code.UNAVAILABLE,
                "UNAVAILABLE",
                "Core broke off while it was taking a file from the plugin.",
            )
        )


@contextlib.contextmanager
def _hanging_up(call: grpc.aio.Call) -> Iterator[None]:
    """Ends a stream that is not read to its end."""
    try:
        yield
    finally:
        call.cancel()


class _Patience:
    """Waits between tries, each time longer, until it is over."""

    def __init__(self) -> None:
        self._end = time.monotonic() + _PATIENCE_SECONDS
        self._delay = _FIRST_DELAY_SECONDS

    async def wait(self) -> bool:
        if time.monotonic() >= self._end:
            return False
        await asyncio.sleep(self._delay * random.uniform(0.5, 1))  # noqa: S311  not a secret
        self._delay = min(self._delay * 2, _LONGEST_DELAY_SECONDS)
        return True
