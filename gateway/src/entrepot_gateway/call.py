"""One HTTP request of the API, as handlers see it: segments, query, credentials, body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from entrepot_gateway import body
from entrepot_gateway.core import credentials
from entrepot_gateway.decoder import Decoder
from entrepot_gateway.problem import refuse
from entrepot_rpc.encoder import Encoder

if TYPE_CHECKING:
    from starlette.requests import Request

    from entrepot_gateway.catalog import Catalog
    from entrepot_gateway.core import Credentials


class Call:
    """A request, with the plugins as they were when it came."""

    def __init__(self, request: Request, catalog: Catalog) -> None:
        self.request = request
        self.catalog = catalog
        self.method = request.method
        self.path = request.scope["path"]
        self.credentials: Credentials = credentials(request.headers.get("authorization"))
        self.query: dict[str, Any] = body.form(request.scope["query_string"].decode("latin-1"))
        # The template of the path; empty while nobody answers it.
        self.route = ""
        self.encoder = Encoder(catalog.message_class)

    @property
    def origin(self) -> str:
        """Scheme and host that the client used."""
        host = self.request.headers.get("host", "")
        return f"{self.request.scope['scheme']}://{host}" if host else ""

    def decoder(self, where: str = "") -> Decoder:
        """A decoder for a part of this request."""
        return Decoder(origin=self.origin, where=where, resolve=self.catalog.message_class)

    async def document(self) -> dict[str, Any]:
        """The body, read and parsed."""
        return body.parse_body(await self._read(), self.request.headers.get("content-type", ""))

    def take(self, name: str) -> str | None:
        """A parameter of the query that is not a field of the request, taken out."""
        words = self.query.pop(name, None)
        if not isinstance(words, body.Words):
            return None
        if len(words) > 1:
            raise refuse(f"#/{name}", f"{name} is given twice.", where="query")
        return words[0]

    async def _read(self) -> bytes:
        length = self.request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > body.MAX_BYTES:
            raise body.too_large()
        data = bytearray()
        async for chunk in self.request.stream():
            data += chunk
            if len(data) > body.MAX_BYTES:
                raise body.too_large()
        return bytes(data)
