"""The end of a server that has an event loop of its own."""

import asyncio

# From the moment a connection is accepted until somebody serves it.
_TURNS = 5


async def end(server: asyncio.Server) -> None:
    """Return when a server and all connections of this loop are closed, the newest as well.

    One that was left open would be complained of later, in whatever test runs by then.
    """
    loop = asyncio.get_running_loop()
    # A server that is closed forgets whom it has just accepted.
    for listener in server.sockets:
        loop.remove_reader(listener.fileno())
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    server.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    # Also those in the middle of a handshake, of which nobody else knows.
    for transport in list(loop._transports.values()):  # type: ignore[attr-defined]
        transport.abort()
    for _ in range(_TURNS):
        await asyncio.sleep(0)
