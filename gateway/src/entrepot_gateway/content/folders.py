"""Sends what is in a folder, as core says it: batch by batch, never as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from entrepot.core.v1 import serving_service_pb2, serving_service_pb2_grpc
from entrepot_gateway.content.headers import COMMON
from entrepot_gateway.content.listing import POLICY, listing_for
from entrepot_gateway.core import service_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Scope

    from entrepot_gateway.content.answer import Answer
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
        call = self._stub.ListFolder(
            serving_service_pb2.ListFolderRequest(content_set=pointer.content_set, path=path),
            metadata=self._core.own,
            timeout=_LIST_SECONDS,
        )
        title = f"{pointer.base_path}/{path}".rstrip("/")
        try:
            async with answer.while_client_stays():
                await _send_listing(scope, answer, title, aiter(call))
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

        await _send_listing(scope, answer, "", batches())


async def _send_listing(
    scope: Scope,
    answer: Answer,
    path: str,
    batches: AsyncIterator[serving_service_pb2.ListFolderResponse],
) -> None:
    accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
    listing = listing_for(accept)
    headers = [item for item in COMMON if item[0] != b"content-security-policy"]
    headers += [
        (b"content-security-policy", POLICY),
        (b"content-type", listing.media_type),
        (b"vary", b"accept"),
    ]
    if answer.is_head:
        await answer.empty(200, headers)
        return
    # The first batch comes before the status, so that a failure can still be said.
    batch = await anext(batches, None)
    await answer.start(200, headers)
    await answer.body(listing.start(path).encode("utf-8"))
    while batch is not None:
        await answer.body("".join(listing.entry(entry) for entry in batch.entries).encode("utf-8"))
        batch = await anext(batches, None)
    await answer.body(listing.end().encode("utf-8"))
    await answer.end()
