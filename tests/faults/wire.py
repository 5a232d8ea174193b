"""The weather proxy: a connection between two programs that can be cut, held up and made slow."""

import asyncio
import contextlib
import struct
import threading
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from types import TracebackType
from typing import Self

import loops

Address = tuple[str, int] | Path


class Wire:
    """Forwards bytes to `target` from a place of its own: a port of 127.0.0.1, or a unix socket.

    Args:
        target: Where to; may be changed, which holds for connections to come.
        place: A unix socket to listen on instead of a port.
    """

    def __init__(self, target: Address, place: Path | None = None) -> None:
        self.target = target
        self.port = 0
        self.delay_seconds = 0.0
        self._place = place
        self._is_refusing = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._open: asyncio.Event
        self._stop: asyncio.Event
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wire", daemon=True)

    @property
    def address(self) -> str:
        """Where it listens, if on a port."""
        return f"127.0.0.1:{self.port}"

    # --- weather

    def cut(self) -> int:
        """Reset every connection; returns how many."""
        return self._call(self._cut)

    def refuse(self) -> None:
        """Reset every connection, and all that come before `heal`."""
        self._is_refusing = True
        self.cut()

    def block(self) -> None:
        """Swallow everything: connections stay open, and nothing comes through before `heal`."""
        self._call(self._block)

    def heal(self) -> None:
        """Let everything through; what was held up comes now."""
        self._is_refusing = False
        self.delay_seconds = 0.0
        self._call(self._unblock)

    # --- life

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(60), "the wire does not start"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)

    def _call(self, work: object) -> int:
        done = threading.Event()
        result = [0]

        def run() -> None:
            result[0] = work() or 0  # type: ignore[operator]
            done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(60)
        return result[0]

    def _cut(self) -> int:
        writers = list(self._writers)
        for writer in writers:
            _reset(writer)
        return len(writers) // 2

    def _block(self) -> None:
        self._open.clear()

    def _unblock(self) -> None:
        self._open.set()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._open, self._stop = asyncio.Event(), asyncio.Event()
        self._open.set()
        if self._place is None:
            server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
        else:
            server = await asyncio.start_unix_server(self._accept, self._place)
        self._started.set()
        await self._stop.wait()
        self._cut()
        await loops.end(server)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            if self._is_refusing:
                _reset(writer)
                return
            theirs, ours = await self._connect()
            self._writers |= {writer, ours}
            try:
                await asyncio.gather(self._copy(reader, ours), self._copy(theirs, writer))
            finally:
                self._writers -= {writer, ours}
                ours.close()
                writer.close()
        writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.target, Path):
            return await asyncio.open_unix_connection(self.target)
        return await asyncio.open_connection(*self.target)

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while chunk := await source.read(65536):
                await self._open.wait()
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                target.write(chunk)
                await target.drain()
        finally:
            # Like a cable, it tells one side at once that the other has gone.
            target.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
