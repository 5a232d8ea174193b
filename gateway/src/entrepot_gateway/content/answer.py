"""An answer of the content origin on its way to a client."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from entrepot_gateway.content.conditions import is_other, is_unchanged
from entrepot_gateway.content.headers import COMMON, unchanged_headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, MutableMapping

    from starlette.types import Message, Receive, Send

    from entrepot_gateway.content.blobs import Seal
    from entrepot_gateway.content.conditions import Representation
    from entrepot_gateway.content.headers import HeaderList


class BrokenConnectionError(Exception):
    """The answer cannot be completed, and must not look as if it were."""


class ClientLeftError(BrokenConnectionError):
    """The client has closed its connection: there is nobody left to answer."""


class Answer:
    """An answer on its way, and how far it has come."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.is_head = False
        self.status = 0
        # The messages of a whole answer that others may be given as well, with the seal of the
        # file that it sends, if it does.
        self.repeatable: tuple[Message, Message, Seal | None] | None = None

    @property
    def has_begun(self) -> bool:
        """Whether the status is sent already."""
        return self.status != 0

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Pass on a message of ASGI."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)

    @asynccontextmanager
    async def while_client_stays(self) -> AsyncIterator[None]:
        """End the block when the client leaves: the server drops what nobody reads, in silence.

        Raises:
            ClientLeftError: the client has left.

        """
        limit = asyncio.timeout(None)
        try:
            async with limit:
                watch = asyncio.create_task(self._expire(limit), name="client")
                try:
                    yield
                finally:
                    watch.cancel()
        except TimeoutError:
            if limit.expired():
                raise ClientLeftError from None
            raise

    async def _expire(self, limit: asyncio.Timeout) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        limit.reschedule(asyncio.get_running_loop().time())

    async def start(self, status: int, headers: HeaderList) -> None:
        """Send status and header fields."""
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def body(self, data: bytes) -> None:
        """Send a part of the body."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        """Say that the body is complete."""
        await self._send({"type": "http.response.body", "body": b""})

    async def file(self, headers: HeaderList, path: str, seal: Seal | None) -> None:
        """Have the server send a whole file by itself."""
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        rest = {"type": "http.response.pathsend", "path": path}
        await self.send(start)
        await self._send(rest)
        self.repeatable = (start, rest, seal)

    async def hand_over(self, headers: HeaderList, path: str, seal: Seal | None) -> None:
        """Have the proxy in front send a file of its own, whole or the ranges that are asked."""
        headers = [
            *headers,
            (b"x-accel-redirect", path.encode("ascii")),
            (b"content-length", b"0"),
        ]
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        rest = {"type": "http.response.body", "body": b""}
        await self.send(start)
        await self._send(rest)
        self.repeatable = (start, rest, seal)

    async def absent(self) -> None:
        """Say that nothing is there."""
        await self.send(_ABSENT)
        if self.is_head:
            await self.end()
            return
        await self._send(_ABSENT_BODY)
        self.repeatable = (_ABSENT, _ABSENT_BODY, None)

    async def empty(self, status: int, headers: HeaderList) -> None:
        """An answer without a body."""
        await self.start(status, headers)
        await self.end()

    async def settles(
        self, what: Representation, request: Mapping[bytes, bytes], headers: HeaderList
    ) -> bool:
        """Answer 412 or 304 if a condition says so, and say whether it did (section 13.2.2)."""
        if is_other(what, request):
            await self.empty(412, [*headers, (b"content-length", b"0")])
            return True
        if is_unchanged(what, request):
            await self.empty(304, unchanged_headers(headers))
            return True
        return False

    async def text(self, status: int, text: str, headers: HeaderList | None = None) -> None:
        """A short answer for people."""
        data = text.encode("utf-8")
        await self.start(status, _text_headers(data, headers or []))
        if not self.is_head:
            await self.body(data)
        await self.end()

    async def lend(self, location: str) -> None:
        """Send the client to a link that holds for a while, and is kept by nobody."""
        headers = [item for item in COMMON if item[0] != b"cache-control"]
        headers += [
            (b"cache-control", b"no-store"),
            (b"location", location.encode("ascii")),
            (b"content-length", b"0"),
        ]
        await self.empty(307, headers)

    async def redirect(self, location: str) -> None:
        """Send the client elsewhere, for good."""
        headers = [*COMMON, (b"location", location.encode("ascii")), (b"content-length", b"0")]
        await self.empty(301, headers)


def _text_headers(data: bytes, headers: HeaderList) -> HeaderList:
    return [
        *COMMON,
        *headers,
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(data)),
    ]


_ABSENT_BODY: Message = {"type": "http.response.body", "body": b"Not found.\n"}
_ABSENT: Message = {
    "type": "http.response.start",
    "status": 404,
    "headers": _text_headers(_ABSENT_BODY["body"], []),
}
