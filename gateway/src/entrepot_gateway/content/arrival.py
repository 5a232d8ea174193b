"""A file that core brings: asked for once, and sent to many clients while it comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc

from entrepot_gateway.content.answer import BrokenConnectionError
from entrepot_gateway.core import service_error
from entrepot_rpc.errors import ServiceError
from entrepot_rpc.spool import Spool

if TYPE_CHECKING:
    from starlette.types import Send

    from entrepot.core.v1 import serving_service_pb2
    from entrepot_gateway.content.files import File
    from entrepot_gateway.content.ranges import Range

    Call = grpc.aio.UnaryStreamCall[
        serving_service_pb2.StreamFileRequest, serving_service_pb2.StreamFileResponse
    ]

# The server keeps some of them for a client that reads slowly, and there may be hundreds.
CHUNK_BYTES = 64 * 1024


class Arrival:
    """Reads a call of StreamFile to its end, as fast as it comes, whoever reads how slowly.

    It is a store of one blob as well: what is sent from it waits for what has not come yet. Core
    gives the last byte only after it has verified all of them.
    """

    path = ""
    internal_path = ""
    seal = None
    location = ""

    def __init__(self, call: Call, file: File) -> None:
        self.readers = 0
        # What it is, once core has said that it is stored.
        self.stored: File | None = None
        self.size = file.size
        self._file = file
        self._call = call
        self._spool = Spool()
        self._error: ServiceError | None = None
        self._has_ended = False
        self._moved = asyncio.Event()

    @property
    def is_whole(self) -> bool:
        """Whether all bytes are here; never, of a file of unknown size."""
        return self._spool.size_bytes == self.size

    async def run(self) -> None:
        """Read all of it."""
        loop = asyncio.get_running_loop()
        try:
            async for response in self._call:
                if response.HasField("stored"):
                    stored = response.stored
                    self.stored = self._file.stored(stored.sha256, stored.size_bytes)
                elif self._is_too_much(response.chunk):
                    return
                else:
                    # What it waits for may be the disk.
                    await loop.run_in_executor(None, self._spool.write, response.chunk)
                self._wake()
        except grpc.RpcError as error:
            self._error = service_error(error)
        except ServiceError as error:
            self._error = error
        finally:
            self._call.cancel()
            self._has_ended = True
            self._wake()

    async def begun(self) -> bool:
        """Whether there is something to send; if not, it is stored now.

        Raises:
            ServiceError: neither will be.

        """
        if await self._until(0):
            return True
        if self._error is not None:
            raise self._error
        return self.stored is None

    async def open(self, sha256: str, wanted: Range | None) -> Arrival | None:
        """The file itself, once the first of its wanted bytes is there.

        Raises:
            ServiceError: it will not be.

        """
        _ = sha256
        if wanted is not None and not await self._until(wanted[0]) and self._error is not None:
            raise self._error
        return self

    async def send(self, send: Send, first: int, last: int | None) -> None:
        """Send these bytes, or all from the first on, as parts of a body that goes on.

        Raises:
            BrokenConnectionError: they did not come, or they are wrong.

        """
        loop = asyncio.get_running_loop()
        while last is None or first <= last:
            if not await self._until(first):
                if last is None and self._error is None:
                    return
                raise BrokenConnectionError("the file did not come to its end")
            count = CHUNK_BYTES if last is None else min(CHUNK_BYTES, last + 1 - first)
            chunk = await loop.run_in_executor(None, self._spool.read, first, count)
            first += len(chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})

    def close(self) -> None:
        """The bytes stay for the others who read them."""

    def end(self) -> None:
        """Give back their room."""
        self._spool.close()

    async def _until(self, offset: int) -> bool:
        """Whether a byte is there; False once it will not come."""
        while self._spool.size_bytes <= offset:
            if self._has_ended:
                return False
            await self._moved.wait()
        return True

    def _is_too_much(self, chunk: bytes) -> bool:
        return 0 <= self.size < self._spool.size_bytes + len(chunk)

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
