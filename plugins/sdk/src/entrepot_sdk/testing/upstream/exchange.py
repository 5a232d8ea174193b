"""One request to the upstream, and the means to answer it well or badly."""

from __future__ import annotations

import re
import socket
import struct
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

__all__ = ["Exchange", "Request"]

_RANGE = re.compile(r"bytes=(\d+)-")


@dataclass(frozen=True, slots=True)
class Request:
    """What a client has asked for; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def offset(self) -> int | None:
        """Where the range that is asked for begins; None if the whole is asked for."""
        match = _RANGE.fullmatch(self.headers.get("range", ""))
        return int(match[1]) if match else None


@dataclass
class Exchange:
    """One request and the means to answer it. Behaviours are functions of this.

    Attributes:
        request: What was asked for.
        number: How often this path was asked before.
        body: What the path has to offer.
        options: What the behaviour was set up with.
        released: Set when the test releases the upstream.
    """

    request: Request
    number: int
    body: bytes
    options: dict[str, object]
    released: asyncio.Event
    writer: asyncio.StreamWriter = field(repr=False)
    statuses: Counter[int] = field(default_factory=Counter)
    sent_bytes: Counter[str] = field(default_factory=Counter)

    async def send(
        self,
        status: int = 200,
        body: bytes = b"",
        headers: Iterable[tuple[str, str]] = (),
        *,
        length: int | str | None = None,
    ) -> None:
        """Sends a response; `length` may claim another than the body has."""
        shown = len(body) if length is None else length
        await self.head(status, [("Content-Length", str(shown)), *headers])
        if self.request.method != "HEAD":
            await self.write(body)

    async def head(self, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Sends a status line and headers as they are, and `Connection: close`."""
        self.statuses[status] += 1
        lines = [f"HTTP/1.1 {status} {_phrase(status)}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers]
        await self.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def write(self, data: bytes) -> None:
        """Sends bytes as they are; ConnectionError once the client has gone."""
        self.sent_bytes[self.request.path] += len(data)
        self.writer.write(data)
        await self.writer.drain()

    def option(self, name: str, default: int) -> int:
        """A number the behaviour was set up with."""
        value = self.options.get(name, default)
        return value if isinstance(value, int) else default

    def text(self, name: str, default: str) -> str:
        """A text the behaviour was set up with."""
        return str(self.options.get(name, default))

    def reset(self) -> None:
        """Ends the connection with RST instead of FIN."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Something"
