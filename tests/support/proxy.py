"""A small HTTP proxy on loopback: forwards requests, opens tunnels, asks who is there."""

import asyncio
import threading
from base64 import b64encode
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import loops


class Proxy:
    """Serves until the end of its `with` block. `seen` has the head of every request to it.

    Args:
        username: Who may pass; empty: everybody.
        password: That user's.
        refusal: A status with which everything is refused instead.
    """

    def __init__(self, username: str = "", password: str = "", refusal: int = 0) -> None:
        self.seen: list[str] = []
        self.port = 0
        self._refusal = refusal
        self._proof = ""
        if username:
            self._proof = f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"
        self._loop = asyncio.new_event_loop()
        self._stop: asyncio.Event
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(60), "the proxy does not start"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        await loops.end(server)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Cancelled at the end of the proxy, which the server would complain of.
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            try:
                await self._answer(reader, writer)
            finally:
                writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.seen.append(head)
        method, target, _ = head.split(" ", 2)
        lines = head.split("\r\n")[1:-2]
        proof = [
            line.partition(": ")[2] for line in lines if line.lower().startswith("proxy-auth")
        ]
        if self._refusal or (self._proof and proof != [self._proof]):
            status = self._refusal or 407
            writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            return
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            request = b""
        else:
            parts = urlsplit(target)
            host, port = parts.hostname or "", str(parts.port or 80)
            kept = [line for line in lines if not line.lower().startswith("proxy-")]
            request = "\r\n".join([f"{method} {parts.path} HTTP/1.1", *kept, "", ""]).encode()
        theirs, ours = await asyncio.open_connection(host, int(port))
        try:
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            ours.write(request)
            await asyncio.gather(_copy(reader, ours), _copy(theirs, writer))
        finally:
            ours.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while chunk := await source.read(65536):
        target.write(chunk)
        await target.drain()
    with suppress(OSError):
        target.write_eof()
