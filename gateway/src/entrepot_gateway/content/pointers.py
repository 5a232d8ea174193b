"""Which content set a base path points at now: cached, told by core when it moves.

As long as core's stream of changes is up, what is cached is true. While it is not, core is asked
again; if it cannot be asked either, the last answer is believed for a limited time.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc

from entrepot.core.v1 import serving_service_pb2, serving_service_pb2_grpc
from entrepot_gateway.core import service_error
from entrepot_gateway.watch import keep_watching
from entrepot_rpc.errors import Code

if TYPE_CHECKING:
    from collections.abc import Callable

    from entrepot_gateway.core import Core

# How long an answer is believed without a stream that would say otherwise.
UNWATCHED_SECONDS = 1.0
MAX_ABSENT = 10_000
ASK_SECONDS = 10.0


@dataclass(slots=True)
class Pointer:
    """A distribution, as core last said."""

    base_path: str
    # Empty: it points at nothing yet.
    content_set: str
    # When the content set was made, in seconds since 1970; zero: not known.
    time: int
    asked_at: float
    is_current: bool = field(default=True)


class Pointers:
    """Finds the distribution of a path."""

    def __init__(
        self, core: Core, stale_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._core = core
        self._stub = serving_service_pb2_grpc.ServingServiceStub(core.channel)
        self._stale_seconds = stale_seconds
        self._clock = clock
        self._known: dict[str, Pointer] = {}
        self._absent: OrderedDict[str, float] = OrderedDict()
        # Changes with every message, so that an answer from before it is not kept.
        self._generation = 0
        self._is_watched = False
        self._lost_at = clock()

    async def run(self) -> None:
        """Follow core until canceled."""
        await keep_watching(
            "pointers",
            lambda: self._stub.WatchPointers(
                serving_service_pb2.WatchPointersRequest(), metadata=self._core.own
            ),
            self.receive,
            self.broken,
        )

    def receive(self, response: serving_service_pb2.WatchPointersResponse) -> None:
        """Take note of what moved."""
        # What moved before this stream began was not said.
        forget_all = response.all or not self._is_watched
        self._is_watched = True
        self._generation += 1
        self._absent.clear()
        moved = self._known if forget_all else response.base_paths
        for base_path in moved:
            if base_path in self._known:
                self._known[base_path].is_current = False

    def broken(self, _code: grpc.StatusCode | None = None) -> None:
        """The stream is lost: nobody says what moves."""
        if self._is_watched:
            self._lost_at = self._clock()
        self._is_watched = False

    async def find(self, path: str) -> Pointer | None:
        """The distribution that serves a path; None if none does.

        Raises:
            ServiceError: core cannot be asked, and its last answer is too old.

        """
        known = self._lookup(path)
        if known is not None and self._is_fresh(known.is_current, known.asked_at):
            return known
        asked = self._absent.get(path)
        if known is None and asked is not None and self._is_fresh(True, asked):  # noqa: FBT003
            return None
        generation = self._generation
        try:
            answer = await self._stub.ResolvePointer(
                serving_service_pb2.ResolvePointerRequest(path=path),
                metadata=self._core.own,
                timeout=ASK_SECONDS,
            )
        except grpc.RpcError as error:
            failure = service_error(error)
            if known is not None and failure.code in _UNREACHABLE and self._may_be_stale(known):
                return known
            raise failure from None
        return self._keep(path, known, answer, is_current=generation == self._generation)

    def _lookup(self, path: str) -> Pointer | None:
        end = path.find("/")
        while end != -1:
            found = self._known.get(path[:end])
            if found is not None:
                return found
            end = path.find("/", end + 1)
        return self._known.get(path)

    def _is_fresh(self, is_current: bool, asked_at: float) -> bool:  # noqa: FBT001
        if self._is_watched:
            return is_current
        return is_current and self._clock() - asked_at < UNWATCHED_SECONDS

    def _may_be_stale(self, known: Pointer) -> bool:
        # As long as it was watched it was true.
        since = max(known.asked_at, self._lost_at if known.is_current else 0.0)
        return self._clock() - since <= self._stale_seconds

    def _keep(
        self,
        path: str,
        known: Pointer | None,
        answer: serving_service_pb2.ResolvePointerResponse,
        *,
        is_current: bool,
    ) -> Pointer | None:
        if known is not None and known.base_path != answer.base_path:
            self._known.pop(known.base_path, None)
        if not answer.distribution:
            if is_current:
                self._absent[path] = self._clock()
                if len(self._absent) > MAX_ABSENT:
                    self._absent.popitem(last=False)
            return None
        pointer = Pointer(
            answer.base_path,
            answer.content_set,
            answer.time.seconds,
            self._clock(),
            is_current,
        )
        self._known[answer.base_path] = pointer
        return pointer


_UNREACHABLE = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.CANCELLED})
