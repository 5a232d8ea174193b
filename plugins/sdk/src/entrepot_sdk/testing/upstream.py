"""An upstream on loopback whose every path behaves as told: well, badly, or not at all.

It speaks just enough HTTP/1.1, on bare sockets, so that it can also break it.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable
    from types import TracebackType
    from typing import Self

__all__ = ["BEHAVIOURS", "Exchange", "Request", "Upstream"]

_REASONS = {
    200: "OK",
    206: "Partial Content",
    302: "Found",
    304: "Not Modified",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What a client has asked for; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Exchange:
    """One request and the means to answer it. Behaviours are functions of this."""

    request: Request
    body: bytes
    options: dict[str, object]
    released: asyncio.Event
    writer: asyncio.StreamWriter = field(repr=False)
    statuses: Counter[int] = field(default_factory=Counter)

    async def send(
        self,
        status: int = 200,
        body: bytes = b"",
        headers: Iterable[tuple[str, str]] = (),
        *,
        length: int | None = None,
    ) -> None:
        """Sends a response; `length` may claim another than the body has."""
        self.statuses[status] += 1
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Something')}"]
        lines.append("Connection: close")
        lines.append(f"Content-Length: {len(body) if length is None else length}")
        lines += [f"{name}: {value}" for name, value in headers]
        self.writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        if self.request.method != "HEAD":
            self.writer.write(body)
        await self.writer.drain()

    def option(self, name: str, default: int) -> int:
        """A number the behaviour was set up with."""
        value = self.options.get(name, default)
        return value if isinstance(value, int) else default

    def reset(self) -> None:
        """Ends the connection with RST instead of FIN."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


async def ok(exchange: Exchange) -> None:
    """The body, in one piece."""
    await exchange.send(200, exchange.body)


async def etag(exchange: Exchange) -> None:
    """The body with an ETag, or 304 to whoever has it."""
    tag = f'"{hashlib.sha256(exchange.body).hexdigest()[:16]}"'
    if exchange.request.headers.get("if-none-match") == tag:
        await exchange.send(304, b"", [("ETag", tag)])
    else:
        await exchange.send(200, exchange.body, [("ETag", tag)])


async def last_modified(exchange: Exchange) -> None:
    """The body with a date, or 304 to whoever has it."""
    date = "Mon, 02 Jan 2023 03:04:05 GMT"
    if exchange.request.headers.get("if-modified-since") == date:
        await exchange.send(304, b"", [("Last-Modified", date)])
    else:
        await exchange.send(200, exchange.body, [("Last-Modified", date)])


async def status(exchange: Exchange) -> None:
    """The status it was set up with, and a short text."""
    number = exchange.option("status", 500)
    challenge = [("WWW-Authenticate", 'Basic realm="test"')] if number == 401 else []  # noqa: PLR2004
    await exchange.send(number, b"no\n", challenge)


async def truncated(exchange: Exchange) -> None:
    """Half of the body; the connection ends before the length that was announced."""
    half = exchange.body[: len(exchange.body) // 2]
    await exchange.send(200, half, length=len(exchange.body))


async def too_long(exchange: Exchange) -> None:
    """The body and a byte more, properly announced: another size than was promised elsewhere."""
    await exchange.send(200, exchange.body + b"!")


async def corrupted(exchange: Exchange) -> None:
    """As many bytes as the body has, but others."""
    await exchange.send(200, bytes(byte ^ 0xFF for byte in exchange.body))


async def stall(exchange: Exchange) -> None:
    """Half of the body, then nothing until the upstream is released."""
    half = exchange.body[: len(exchange.body) // 2]
    await exchange.send(200, half, length=len(exchange.body))
    await exchange.released.wait()


async def silent(exchange: Exchange) -> None:
    """Nothing at all until the upstream is released."""
    await exchange.released.wait()


async def reset(exchange: Exchange) -> None:
    """Half of the body, then a reset of the connection."""
    half = exchange.body[: len(exchange.body) // 2]
    await exchange.send(200, half, length=len(exchange.body))
    exchange.reset()


async def slow(exchange: Exchange) -> None:
    """The body in pieces, with a pause (`pause_ms`) after each of `pieces`."""
    await exchange.send(200, b"", length=len(exchange.body))
    step = max(1, len(exchange.body) // exchange.option("pieces", 10))
    for start in range(0, len(exchange.body), step):
        exchange.writer.write(exchange.body[start : start + step])
        await exchange.writer.drain()
        await asyncio.sleep(exchange.option("pause_ms", 20) / 1000)


async def redirect(exchange: Exchange) -> None:
    """302 to `location`."""
    await exchange.send(302, b"", [("Location", str(exchange.options.get("location", "/")))])


BEHAVIOURS: dict[str, Callable[[Exchange], Awaitable[None]]] = {
    behaviour.__name__: behaviour
    for behaviour in (
        *(ok, etag, last_modified, status, truncated, too_long, corrupted),
        *(stall, silent, reset, slow, redirect),
    )
}
"""The behaviours by name; `Upstream.add` takes these names, or any function like them."""


@dataclass(frozen=True, slots=True)
class _Route:
    behaviour: Callable[[Exchange], Awaitable[None]]
    body: bytes
    options: dict[str, object]
    times: int | None


class Upstream:
    """Serves while entered; paths that were not added are 404.

    Attributes:
        requests: Every request, in the order in which they came.
        hits: How many requests each path has had.
        statuses: How many answers of each status each path has given, if the behaviour gave one.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.hits: Counter[str] = Counter()
        self.statuses: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self._routes: defaultdict[str, list[_Route]] = defaultdict(list)
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._released = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def add(
        self,
        path: str,
        body: bytes = b"",
        behaviour: str | Callable[[Exchange], Awaitable[None]] = "ok",
        *,
        times: int | None = None,
        **options: object,
    ) -> str:
        """Says how a path behaves, and returns its URL.

        Args:
            path: With a slash in front.
            body: What it has to offer.
            behaviour: One of BEHAVIOURS, or a function of an `Exchange`.
            times: After so many requests, what was added before it applies again.
            options: For the behaviour, such as status=403.
        """
        chosen = BEHAVIOURS[behaviour] if isinstance(behaviour, str) else behaviour
        with self._lock:
            self._routes[path].append(_Route(chosen, body, options, times))
        return self.url + path

    def release(self) -> None:
        """Lets every behaviour that waits for this go on."""
        self._loop.call_soon_threadsafe(self._released.set)

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        self.url = f"http://{host}:{port}"

    async def _stop(self) -> None:
        self._released.set()
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        try:
            await self._answer(await _read_request(reader), writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        path = request.path
        with self._lock:
            self.requests.append(request)
            self.hits[path] += 1
            route = self._route(path)
            statuses = self.statuses[path]
        exchange = Exchange(request, route.body, route.options, self._released, writer, statuses)
        await route.behaviour(exchange)

    def _route(self, path: str) -> _Route:
        routes = self._routes.get(path) or []
        while routes:
            route = routes[-1]
            if route.times is None:
                return route
            if route.times > 0:
                routes[-1] = _Route(route.behaviour, route.body, route.options, route.times - 1)
                return route
            routes.pop()
        return _Route(status, b"", {"status": 404}, None)

    def _run(self, coroutine: Coroutine[object, object, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return Request(method, target, headers)
