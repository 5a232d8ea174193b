"""The server behind the behaviours: its paths, and what it has seen."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from entrepot_sdk.testing.upstream.behaviours import BEHAVIOURS
from entrepot_sdk.testing.upstream.exchange import Exchange, Request
from entrepot_sdk.testing.upstream.honest import status

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Coroutine
    from types import TracebackType
    from typing import Self

__all__ = ["Upstream"]

_TLS_HANDSHAKE = b"\x16"


@dataclass(frozen=True, slots=True)
class _Route:
    behaviour: Callable[[Exchange], Awaitable[None]]
    body: bytes
    options: dict[str, object]
    times: int | None


class Upstream:
    """Serves while entered; paths that were not added are 404.

    A query belongs to the path; where it was not added with it, the path without it answers.
    Who speaks TLS to an upstream that does not is reset.

    Args:
        tls: The certificate to serve https with.

    Attributes:
        url: Its address, without a slash at its end.
        requests: Every request, in the order in which they came.
        hits: How many requests each path has had.
        statuses: How many answers of each status each path has given, if the behaviour gave one.
        sent_bytes: How many bytes each path has sent, as far as the client took them.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.requests: list[Request] = []
        self.hits: Counter[str] = Counter()
        self.statuses: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self.sent_bytes: Counter[str] = Counter()
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
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        host, port = self._server.sockets[0].getsockname()[:2]
        self.url = f"{'https' if self._tls else 'http'}://{host}:{port}"

    async def _stop(self) -> None:
        self._released.set()
        if self._server is not None:
            # A server that is closed forgets whom it has just accepted.
            for listener in self._server.sockets:
                self._loop.remove_reader(listener.fileno())
            await _turn()
            self._server.close()
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await _turn()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        try:
            request = await _read_request(reader)
            if request is None:
                writer.transport.abort()
            else:
                await self._answer(request, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        path = request.path
        with self._lock:
            self.requests.append(request)
            number = self.hits[path]
            self.hits[path] += 1
            route = self._route(path)
            statuses = self.statuses[path]
        exchange = Exchange(
            replace(request, headers=dict(request.headers)),
            number,
            route.body,
            route.options,
            self._released,
            writer,
            statuses,
            self.sent_bytes,
        )
        await route.behaviour(exchange)

    def _route(self, path: str) -> _Route:
        routes = self._routes.get(path) or self._routes.get(path.partition("?")[0]) or []
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


async def _turn() -> None:
    """Let the loop turn until who was accepted is served, and who was closed is gone."""
    for _ in range(5):
        await asyncio.sleep(0)


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    """The request; None if it is the beginning of TLS."""
    first = await reader.readexactly(1)
    if first == _TLS_HANDSHAKE:
        return None
    head = first + await reader.readuntil(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = line.split(" ", 2)
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return Request(method, target, headers)
