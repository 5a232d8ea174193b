"""Sends the list of versions that a distribution lets browse: `/dev@/`, as a page or as JSON."""

from __future__ import annotations

import html
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import grpc

from entrepot.core.v1 import serving_service_pb2, serving_service_pb2_grpc
from entrepot_gateway.content.headers import COMMON
from entrepot_gateway.content.listing import POLICY, HtmlListing, JsonListing, link, listing_for
from entrepot_gateway.core import service_error

if TYPE_CHECKING:
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
        accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
        listing = listing_for(accept)
        form = _Page if isinstance(listing, HtmlListing) else _Document
        headers = [
            *(item for item in COMMON if item[0] != b"content-security-policy"),
            (b"content-security-policy", POLICY),
            (b"content-type", listing.media_type),
            (b"vary", b"accept"),
        ]
        if answer.is_head:
            await answer.empty(200, headers)
            return
        call = self._stub.ListServedVersions(
            serving_service_pb2.ListServedVersionsRequest(distribution=pointer.distribution),
            metadata=self._core.own,
            timeout=_LIST_SECONDS,
        )
        try:
            batches = aiter(call)
            # The first batch comes before the status, so that a failure can still be said.
            batch = await anext(batches, None)
            writer = form(pointer.base_path)
            await answer.start(200, headers)
            await answer.body(writer.start().encode("utf-8"))
            while batch is not None:
                await answer.body("".join(map(writer.entry, batch.versions)).encode("utf-8"))
                batch = await anext(batches, None)
            await answer.body(writer.end().encode("utf-8"))
            await answer.end()
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
