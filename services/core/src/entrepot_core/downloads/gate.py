"""How many at once may ask one remote, and when nobody may."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from entrepot_core.downloads.remote import Remote

__all__ = ["Gates"]


class _Gate:
    def __init__(self, places: int) -> None:
        self.places = places
        self.free = asyncio.Semaphore(places)
        self.closed_until = 0.0


class Gates:
    """The gate of every remote that was asked in this process. For one event loop."""

    def __init__(self) -> None:
        self._gates: dict[int, _Gate] = {}

    @asynccontextmanager
    async def enter(self, remote: Remote) -> AsyncIterator[None]:
        """Waits until one more may ask the remote, and holds the place."""
        gate = self._gate(remote)
        async with gate.free:
            loop = asyncio.get_running_loop()
            wait = gate.closed_until - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            yield

    def close_for(self, remote: Remote, seconds: float) -> None:
        """Lets nobody ask the remote for a while, as it has said that it is asked too often."""
        gate = self._gate(remote)
        until = asyncio.get_running_loop().time() + seconds
        gate.closed_until = max(gate.closed_until, until)

    def _gate(self, remote: Remote) -> _Gate:
        gate = self._gates.get(remote.remote_id)
        if gate is None or gate.places != remote.max_concurrency:
            gate = self._gates[remote.remote_id] = _Gate(remote.max_concurrency)
        return gate
