"""How many at once may ask a remote or a host, how often, and when nobody may."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from entrepot_core.downloads.remote import Remote

__all__ = ["HOST_CONNECTIONS", "Gates"]

HOST_CONNECTIONS = 50


class _RemoteGate:
    def __init__(self, places: int) -> None:
        self.places = places
        self.free = asyncio.Semaphore(places)
        self.closed_until = 0.0
        # When the next request may go, as far as the rate is concerned.
        self.next_turn = 0.0


class _HostGate:
    def __init__(self, places: int) -> None:
        self.free = asyncio.Semaphore(places)
        self.users = 0


class Gates:
    """The gates of every remote and host that was asked in this process. For one event loop.

    Args:
        host_connections: How many requests one host gets at once, whichever remotes name it.
    """

    def __init__(self, host_connections: int = HOST_CONNECTIONS) -> None:
        self._host_connections = host_connections
        self._remotes: dict[int, _RemoteGate] = {}
        self._hosts: dict[str, _HostGate] = {}

    def enter(self, remote: Remote) -> AbstractAsyncContextManager[None]:
        """Waits until one more may fetch from the remote, and holds the place."""
        return self._gate(remote).free

    def ask(self, remote: Remote, host: str) -> AbstractAsyncContextManager[None]:
        """Waits for the turn of one request to a host, and holds one of the host's connections."""
        return _Asking(self, remote, host)

    def close_for(self, remote: Remote, seconds: float) -> None:
        """Lets nobody ask the remote for a while, as it has said that it is asked too often."""
        gate = self._gate(remote)
        until = asyncio.get_running_loop().time() + seconds
        gate.closed_until = max(gate.closed_until, until)

    async def turn(self, remote: Remote) -> None:
        """Waits until the remote may be asked once more."""
        gate = self._gate(remote)
        loop = asyncio.get_running_loop()
        if remote.rate_limit:
            # Evenly, without bursts: each request takes the next turn, and turns do not add up
            # while nobody asks.
            turn = max(gate.next_turn, loop.time())
            gate.next_turn = turn + 1 / remote.rate_limit
            await asyncio.sleep(turn - loop.time())
        # It may be closed for longer meanwhile.
        while (wait := gate.closed_until - loop.time()) > 0:  # noqa: ASYNC110  a time, no event
            await asyncio.sleep(wait)

    async def hold(self, host: str) -> None:
        """Waits for one of the host's connections."""
        gate = self._hosts.get(host)
        if gate is None:
            gate = self._hosts[host] = _HostGate(self._host_connections)
        gate.users += 1
        try:
            await gate.free.acquire()
        except BaseException:
            self._leave(host, gate)
            raise

    def release(self, host: str) -> None:
        """Gives the connection back."""
        gate = self._hosts[host]
        gate.free.release()
        self._leave(host, gate)

    def _leave(self, host: str, gate: _HostGate) -> None:
        gate.users -= 1
        if not gate.users:
            del self._hosts[host]

    def _gate(self, remote: Remote) -> _RemoteGate:
        gate = self._remotes.get(remote.remote_id)
        if gate is None or gate.places != remote.max_concurrency:
            gate = self._remotes[remote.remote_id] = _RemoteGate(remote.max_concurrency)
        return gate


class _Asking:
    """One request; a class, as there is one for each file, and a generator costs more."""

    __slots__ = ("_gates", "_host", "_remote")

    def __init__(self, gates: Gates, remote: Remote, host: str) -> None:
        self._gates = gates
        self._remote = remote
        self._host = host

    async def __aenter__(self) -> None:
        await self._gates.turn(self._remote)
        await self._gates.hold(self._host)

    async def __aexit__(self, *_: object) -> None:
        self._gates.release(self._host)
