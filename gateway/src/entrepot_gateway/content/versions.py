"""Sends the list of versions that a distribution lets browse: `/dev@/`, as a page or as JSON."""

from __future__ import annotations

import html
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import grpc

from entrepot.core.v1 import serving_service_pb2, serving_service_pb2_grpc
from entrepot_gateway.content.headers import fields_of, list_headers
from entrepot_gateway.content.list_answer import Listed, send_list
from entrepot_gateway.content.listing import HtmlListing, JsonListing, link, listing_for
from entrepot_gateway.core import service_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Scope

    from entrepot_gateway.content.answer import Answer
    from entrepot_gateway.content.pointers import Pointer
    from entrepot_gateway.core import Core

    ServedVersion = serving_service_pb2.ListServedVersionsResponse.ServedVersion

_LIST_SECONDS = 120.0


class Versions:
    """Answers requests for the versions of a distribution."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._stub = serving_service_pb2_grpc.ServingServiceStub(core.channel)

    async def send(self, scope: Scope, answer: Answer, pointer: Pointer) -> None:
        """The list, newest first."""
        request = fields_of(scope)
        listing = listing_for(request.get(b"accept", b"").decode("latin-1"))
        writer = (_Page if isinstance(listing, HtmlListing) else _Document)(pointer.base_path)
        call = self._stub.ListServedVersions(
            serving_service_pb2.ListServedVersionsRequest(distribution=pointer.distribution),
            metadata=self._core.own,
            timeout=_LIST_SECONDS,
        )
        try:
            async with answer.while_client_stays():
                headers = list_headers(listing.media_type, Listed())
                await send_list(answer, request, headers, _pieces(writer, aiter(call)))
        except grpc.RpcError as error:
            raise service_error(error) from None
        finally:
            call.cancel()


class _Page:
    """A page with a row for each version."""

    def __init__(self, base_path: str) -> None:
        self._base_path = base_path
        self._listing = HtmlListing()

    def start(self) -> str:
        """What comes before the versions."""
        return self._listing.start(self._base_path)

    def entry(self, version: ServedVersion) -> str:
        """One row."""
        name = f"{self._base_path.rpartition('/')[2]}{version.number}/"
        made = datetime.fromtimestamp(version.create_time.seconds, UTC)
        # Versions lie beside this list, not in it.
        return (
            f'<tr><td><a href=".{link(name)}">{html.escape(name)}</a></td>'
            f"<td>{version.unit_count:,} (+{version.added:,} \N{MINUS SIGN}{version.removed:,})"
            f"</td><td>{made:%Y-%m-%d %H:%M:%S} UTC</td></tr>\n"
        )

    def end(self) -> str:
        """What comes after them."""
        return self._listing.end()


class _Document:
    """An object with a list of versions."""

    def __init__(self, base_path: str) -> None:
        self._base_path = base_path.removesuffix("@")
        self._comma = ""

    def start(self) -> str:
        """What comes before the versions."""
        return f'{{"base_path": {json.dumps(self._base_path)}, "versions": ['

    def entry(self, version: ServedVersion) -> str:
        """One version."""
        item = {
            "path": f"{self._base_path}@{version.number}",
            "number": version.number,
            "create_time": version.create_time.ToJsonString(),
            "unit_count": version.unit_count,
            "added": version.added,
            "removed": version.removed,
        }
        comma, self._comma = self._comma, ","
        return f"{comma}\n{json.dumps(item)}"

    def end(self) -> str:
        """What comes after them."""
        return JsonListing().end()


async def _pieces(
    writer: _Page | _Document,
    batches: AsyncIterator[serving_service_pb2.ListServedVersionsResponse],
) -> AsyncIterator[bytes]:
    # The first batch comes before anything else, so that a failure can still be said.
    batch = await anext(batches, None)
    yield writer.start().encode("utf-8")
    while batch is not None:
        yield "".join(map(writer.entry, batch.versions)).encode("utf-8")
        batch = await anext(batches, None)
    yield writer.end().encode("utf-8")
