"""Sends what is in a folder, as core says it: batch by batch, never as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from entrepot.core.v1 import serving_service_pb2, serving_service_pb2_grpc
from entrepot_gateway.content.headers import fields_of, list_headers
from entrepot_gateway.content.list_answer import Listed, send_list
from entrepot_gateway.content.listing import listing_for, tag
from entrepot_gateway.core import service_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from starlette.types import Scope

    from entrepot_gateway.content.answer import Answer
    from entrepot_gateway.content.listing import Listing
    from entrepot_gateway.content.pointers import Pointer
    from entrepot_gateway.core import Core

_LIST_SECONDS = 120.0


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
        headers = list_headers(listing.media_type, Listed(own, pointer.time))
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
                await send_list(answer, request, headers, _pieces(listing, title, aiter(call)))
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
        headers = list_headers(listing.media_type, Listed())
        await send_list(answer, request, headers, _pieces(listing, "", batches()))


def _listing(request: Mapping[bytes, bytes]) -> Listing:
    return listing_for(request.get(b"accept", b"").decode("latin-1"))


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
