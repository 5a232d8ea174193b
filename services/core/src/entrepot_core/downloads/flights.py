"""The same work, asked for by many at once, is done once."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["Flights"]

T = TypeVar("T")


class Flights(Generic[T]):
    """Work that is under way, by key."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._under_way: dict[Hashable, Future[T]] = {}

    def join(self, key: Hashable, work: Callable[[], T]) -> T:
        """The result of the work, or its error; done by this thread unless another is at it."""
        with self._guard:
            future = self._under_way.get(key)
            is_ours = future is None
            if future is None:
                future = self._under_way[key] = Future()
        if is_ours:
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001  for all who wait
                future.set_exception(error)
            finally:
                with self._guard:
                    del self._under_way[key]
        return future.result()
