"""Two event loops that wait for each other: the server's, and the one author code runs in.

Author code has a thread and a loop of its own, so that whatever it does there, however long, the
server goes on answering.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Coroutine

__all__ = ["Bridge"]

T = TypeVar("T")


class Bridge:
    """Awaits, in the author's loop, what must run in the server's."""

    def __init__(self, server_loop: asyncio.AbstractEventLoop) -> None:
        self._loop = server_loop

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result; cancelling the wait cancels the coroutine."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._loop))

    async def iterate(self, generator: AsyncGenerator[T, None]) -> AsyncIterator[T]:
        """The generator's items; leaving the loop early closes it."""
        try:
            while True:
                item = await self.run(_next(generator))
                if item is None:
                    return
                yield item
        finally:
            await self.run(_close(generator))


async def _next(generator: AsyncGenerator[T, None]) -> T | None:
    return await anext(generator, None)


async def _close(generator: AsyncGenerator[Any, None]) -> None:
    await generator.aclose()
