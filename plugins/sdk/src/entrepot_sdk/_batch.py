"""Collects single items into batches and sends a few of them at once.

Lives in the author's loop. Knows nothing of what it sends.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Batcher", "Flight"]

T = TypeVar("T")

_IN_FLIGHT = 4
# Core is to have something to do while the author is still reading.
_FIRST_ITEMS = 50


class Flight:
    """Sendings under way: at most four, and the first failure is everybody's."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(_IN_FLIGHT)
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    async def launch(self, sending: Callable[[], Awaitable[None]]) -> None:
        """Starts to send as soon as there is room; raises what went wrong earlier."""
        await self._slots.acquire()
        if self._failure is not None:
            self._slots.release()
            raise self._failure
        task = asyncio.create_task(self._send(sending))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Let it begin, so that it is on its way even if the author now keeps the thread.
        await asyncio.sleep(0)

    async def land(self) -> None:
        """Returns when all is sent, or raises what went wrong."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._failure is not None:
            raise self._failure

    async def _send(self, sending: Callable[[], Awaitable[None]]) -> None:
        try:
            await sending()
        except asyncio.CancelledError as error:
            self._failure = self._failure or error
        except Exception as error:  # noqa: BLE001  raised where the author waits
            self._failure = self._failure or error
        finally:
            self._slots.release()


class Batcher(Generic[T]):
    """Batches of at most so many items and bytes, in the order in which they came.

    The first is small, and each that is full is twice as large as the one before.
    """

    def __init__(
        self,
        flight: Flight,
        send: Callable[[list[T]], Awaitable[None]],
        *,
        max_items: int,
        max_bytes: int,
    ) -> None:
        self._flight = flight
        self._send = send
        self._max_items = max_items
        self._full_at = min(_FIRST_ITEMS, max_items)
        self._max_bytes = max_bytes
        self._items: list[T] = []
        self._bytes = 0

    async def put(self, item: T, size_bytes: int) -> None:
        """Takes an item; waits only if too much is under way."""
        while self._items and self._bytes + size_bytes > self._max_bytes:
            await self.flush()
        self._items.append(item)
        self._bytes += size_bytes
        if len(self._items) >= self._full_at:
            self._full_at = min(2 * self._full_at, self._max_items)
            await self.flush()

    async def flush(self) -> None:
        """Sends what there is, without waiting for the answer."""
        items, self._items, self._bytes = self._items, [], 0
        if items:
            await self._flight.launch(lambda: self._send(items))
