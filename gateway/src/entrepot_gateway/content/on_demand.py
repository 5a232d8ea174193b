"""Files whose bytes are not here: brought by core once for all who ask at the same time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from entrepot.core.v1 import serving_service_pb2, serving_service_pb2_grpc
from entrepot_gateway.content.arrival import Arrival
from entrepot_rpc import correlation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from entrepot_gateway.content.files import File, Files
    from entrepot_gateway.core import Core

# Core's own limits end a download that stalls; this ends one that never would.
LONGEST_SECONDS = 6 * 3600.0

_Key = tuple[str, str]


class OnDemand:
    """Asks core for bytes that only the upstream has, and remembers what is stored then."""

    def __init__(self, core: Core, files: Files) -> None:
        self._core = core
        self._files = files
        self._stub = serving_service_pb2_grpc.ServingServiceStub(core.channel)
        self._arriving: dict[_Key, Arrival] = {}
        self._tasks: dict[Arrival, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def arrival(self, content_set: str, path: str, file: File) -> AsyncIterator[Arrival]:
        """The file on its way, from its start, as long as the block lasts.

        Whoever leaves, the others go on. When all have left, core decides: what is to be kept is
        fetched to its end. Once all bytes have come, only core's word that they are stored is
        missing, and it is waited for, so that the next client is sent the stored file.
        """
        key = (content_set, path)
        arrival = self._arriving.get(key)
        if arrival is None:
            arrival = self._begin(key, file)
        arrival.readers += 1
        try:
            yield arrival
        finally:
            arrival.readers -= 1
            if not arrival.readers:
                self._leave(key, arrival)

    def _leave(self, key: _Key, arrival: Arrival) -> None:
        task = self._tasks.get(arrival)
        if task is not None and arrival.is_whole:
            return
        self._forget(key, arrival)
        if task is not None:
            task.cancel()
        arrival.end()

    def _begin(self, key: _Key, file: File) -> Arrival:
        content_set, path = key
        call = self._stub.StreamFile(
            serving_service_pb2.StreamFileRequest(content_set=content_set, path=path),
            metadata=self._core.own + correlation.outgoing(),
            timeout=LONGEST_SECONDS,
        )
        arrival = self._arriving[key] = Arrival(call, file)
        task = self._tasks[arrival] = asyncio.create_task(arrival.run(), name="arrival")
        task.add_done_callback(lambda _: self._settle(key, arrival))
        return arrival

    def _settle(self, key: _Key, arrival: Arrival) -> None:
        self._tasks.pop(arrival, None)
        self._forget(key, arrival)
        if arrival.stored is not None:
            self._files.keep(*key, arrival.stored)
        if not arrival.readers:
            arrival.end()

    def _forget(self, key: _Key, arrival: Arrival) -> None:
        if self._arriving.get(key) is arrival:
            del self._arriving[key]
