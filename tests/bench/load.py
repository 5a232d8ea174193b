"""Requests for one URL over a number of connections, as fast as they are answered.

`wrk` where it is installed, else a client of our own; the same for both sides of a comparison.
"""

import asyncio
import re
import shutil
import subprocess
import time
from urllib.parse import urlsplit

WRK = shutil.which("wrk")


def requests_per_second(
    url: str, connections: int = 16, seconds: float = 4, *, status: int = 200
) -> float:
    """How many requests are answered in a second, all with this status."""
    if WRK:
        return _wrk(url, connections, seconds, status)
    return asyncio.run(_own(url, connections, seconds, status))


def name() -> str:
    """Who asks."""
    return "wrk" if WRK else "a client of our own, on the same machine"


def _wrk(url: str, connections: int, seconds: float, status: int) -> float:
    command = [WRK or "wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # It knows no more of a status.
    assert ("Non-2xx" in done.stdout) == (status >= 400), done.stdout
    found = re.search(r"Requests/sec:\s+([0-9.]+)", done.stdout)
    assert found is not None, done.stdout
    return float(found[1])


async def _own(url: str, connections: int, seconds: float, status: int) -> float:
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    start = time.perf_counter()
    clients = []
    for _ in range(connections):
        _, client = await loop.create_connection(
            lambda: _Client(request, start + seconds, status),
            parts.hostname or "",
            parts.port or 80,
        )
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    return sum(client.answered for client in clients) / (time.perf_counter() - start)


class _Client(asyncio.Protocol):
    """One connection: sends a request, drops the answer, sends the next."""

    def __init__(self, request: bytes, until: float, status: int) -> None:
        self.answered = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._until = until
        self._status = b"HTTP/1.1 %d " % status
        self._head = b""
        self._left = -1
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            self._head += data
            head, separator, body = self._head.partition(b"\r\n\r\n")
            if not separator:
                return
            assert head.startswith(self._status), head
            found = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
            assert found is not None, head
            self._left, self._head = int(found[1]), b""
            data = body
        self._left -= len(data)
        if self._left == 0:
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server hung up"))

    def _next(self) -> None:
        self.answered += 1
        self._left = -1
        assert self._transport is not None
        if time.perf_counter() < self._until:
            self._transport.write(self._request)
        else:
            self.done.set_result(None)
            self._transport.close()
