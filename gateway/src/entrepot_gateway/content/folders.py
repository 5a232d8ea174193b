"""Sends what is in a folder, as core says it: batch by batch, never as a whole."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from entrepot.core.v1 import serving_service_pb2, serving_service_pb2_grpc
from entrepot_gateway.content.headers import COMMON, fields_of, validators
from entrepot_gateway.content.listing import POLICY, listing_for, tag
from entrepot_gateway.content.negotiation import takes_gzip
from entrepot_gateway.core import service_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from starlette.types import Scope

    from entrepot_gateway.content.answer import Answer
    from entrepot_gateway.content.headers import HeaderList
    from entrepot_gateway.content.listing import Listing
    from entrepot_gateway.content.pointers import Pointer
    from entrepot_gateway.core import Core

_LIST_SECONDS = 120.0
# A tenth of the bytes at little more than the cost of writing the list.
_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Listed:
    """A listing, as far as conditions ask for it; the root has neither tag nor time."""

    tag: bytes = b""
    time: int = 0


class Folders:
    """Answers requests for folders."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._stub = serving_service_pb2_grpc.ServingServiceStub(core.channel)

    async def send(self, scope: Scope, answer: Answer, pointer: Pointer, path: str) -> None:
        """The listing of a folder of a distribution; `path` is below its base path."""
        request = fields_of(scope)
        listing = _listing(request)
        own = tag(listing, pointer.base_path, pointer.content_set, path)
        headers = _headers(listing, Listed(own, pointer.time))
        if await answer.settles(Listed(own, pointer.time), request, headers):
            return
        call = self._stub.ListFolder(
            serving_service_pb2.ListFolderRequest(content_set=pointer.content_set, path=path),
            metadata=self._core.own,
            timeout=_LIST_SECONDS,
        )
        title = f"{pointer.base_path}/{path}".rstrip("/")
        try:
            async with answer.while_client_stays():
                await _send(answer, request, headers, _pieces(listing, title, aiter(call)))
        except grpc.RpcError as error:
            raise service_error(error) from None
        finally:
            call.cancel()

    async def send_root(self, scope: Scope, answer: Answer) -> None:
        """The listing of all base paths."""
        try:
            response = await self._stub.ListBasePaths(
                serving_service_pb2.ListBasePathsRequest(),
                metadata=self._core.own,
                timeout=_LIST_SECONDS,
            )
        except grpc.RpcError as error:
            raise service_error(error) from None
        entry = serving_service_pb2.ListFolderResponse.Entry
        batch = serving_service_pb2.ListFolderResponse(
            entries=[entry(name=name, is_folder=True) for name in response.base_paths]
        )

        async def batches() -> AsyncIterator[serving_service_pb2.ListFolderResponse]:
            yield batch

        request = fields_of(scope)
        listing = _listing(request)
        headers = _headers(listing, Listed())
        await _send(answer, request, headers, _pieces(listing, "", batches()))


def _listing(request: Mapping[bytes, bytes]) -> Listing:
    return listing_for(request.get(b"accept", b"").decode("latin-1"))


def _headers(listing: Listing, listed: Listed) -> HeaderList:
    return [
        *(item for item in COMMON if item[0] != b"content-security-policy"),
        (b"content-security-policy", POLICY),
        (b"content-type", listing.media_type),
        (b"vary", b"accept, accept-encoding"),
        *validators(listed),
    ]


async def _pieces(
    listing: Listing,
    path: str,
    batches: AsyncIterator[serving_service_pb2.ListFolderResponse],
) -> AsyncIterator[bytes]:
    # The first batch comes before anything else, so that a failure can still be said.
    batch = await anext(batches, None)
    yield listing.start(path).encode("utf-8")
    while batch is not None:
        yield "".join(map(listing.entry, batch.entries)).encode("utf-8")
        batch = await anext(batches, None)
    yield listing.end().encode("utf-8")


async def _send(
    answer: Answer,
    request: Mapping[bytes, bytes],
    headers: HeaderList,
    pieces: AsyncIterator[bytes],
) -> None:
    is_compressed = takes_gzip(request.get(b"accept-encoding", b"").decode("latin-1"))
    if is_compressed:
        headers = [*headers, (b"content-encoding", b"gzip")]
        pieces = _compress(pieces)
    if answer.is_head:
        await answer.empty(200, headers)
        return
    first = await anext(pieces)
    await answer.start(200, headers)
    await answer.body(first)
    async for piece in pieces:
        await answer.body(piece)
    await answer.end()


async def _compress(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same in gzip; what is there is sent at once, so that a long list begins early."""
    gzip = zlib.compressobj(_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    async for piece in pieces:
        if piece:
            yield gzip.compress(piece) + gzip.flush(zlib.Z_SYNC_FLUSH)
    yield gzip.flush()
