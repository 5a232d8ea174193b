"""Which content set a base path points at now: cached, told by core when it moves.

As long as core's stream of changes is up, what is cached is true. While it is not, core is asked
again; if it cannot be asked either, the last answer is believed for a limited time.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from math import inf
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
# How long that a path's version exists, which is deleted without a word.
SELECTED_SECONDS = 60.0
MAX_ABSENT = 10_000
# There are as many spellings of moments as a client likes.
MAX_SELECTED = 1_000
ASK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Previous:
    """A content set that was served until a while ago, and is looked in until some moment."""

    content_set: str
    until: float


@dataclass(slots=True)
class Pointer:
    """A distribution, or a version of it that the path asks for, as core last said."""

    # Of a version with what asks for it: "dev@3".
    base_path: str
    # Empty: it points at nothing yet.
    content_set: str
    # When the content set was made, in seconds since 1970; zero: not known.
    time: int
    asked_at: float
    is_current: bool = True
    # Until when it is believed without asking again.
    until: float = inf
    distribution: str = ""
    # The path names this content set for ever.
    is_immutable: bool = False
    # Newest first.
    previous: tuple[Previous, ...] = ()
    # Why there is no such version.
    fault: str = ""
    # It was deleted.
    is_gone: bool = False
    # The path asks which versions there are.
    asks_for_versions: bool = False

    def at(self, content_set: str) -> Pointer:
        """The same, for a file that only a content set from before has."""
        return replace(self, content_set=content_set)


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
        self._selected: OrderedDict[str, Pointer] = OrderedDict()
        self._absent: OrderedDict[str, float] = OrderedDict()
        # That a path is in no distribution holds until anything moves.
        self.absence = Pointer("", "", 0, clock())
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
        self.absence.is_current = False
        self.absence = Pointer("", "", 0, self._clock())
        moved = set(self._known if forget_all else response.base_paths)
        for base_path in moved & self._known.keys():
            self._known[base_path].is_current = False
        for asked, pointer in self._selected.items():
            if forget_all or asked.rpartition("@")[0] in moved:
                pointer.is_current = False

    def broken(self, _code: grpc.StatusCode | None = None) -> None:
        """The stream is lost: nobody says what moves."""
        if self._is_watched:
            self._lost_at = self._clock()
        self._is_watched = False

    def holds(self, pointer: Pointer, until: float | None = None) -> bool:
        """Whether core would say the same now, and some moment has not come."""
        return (
            pointer.is_current
            and self._is_watched
            and (pointer.until == inf or self._clock() < pointer.until)
            and (until is None or self._clock() < until)
        )

    def still_served(self, pointer: Pointer) -> list[Previous]:
        """What was served before and is still to be looked in."""
        if not pointer.previous:
            return []
        now = self._clock()
        return [previous for previous in pointer.previous if now < previous.until]

    async def find(self, path: str) -> Pointer | None:
        """The distribution that serves a path; None if none does.

        Raises:
            ServiceError: core cannot be asked, and its last answer is too old.

        """
        known = self._lookup(path)
        if known is not None and self._is_fresh(known):
            return known
        asked = self._absent.get(path)
        if known is None and asked is not None and self._is_recent(asked):
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
            found = self._known.get(path[:end]) or self._selected.get(path[:end])
            if found is not None:
                return found
            end = path.find("/", end + 1)
        return self._known.get(path) or self._selected.get(path)

    def _is_fresh(self, pointer: Pointer) -> bool:
        return (
            pointer.is_current
            and self._is_recent(pointer.asked_at)
            and (pointer.until == inf or self._clock() < pointer.until)
        )

    def _is_recent(self, asked_at: float) -> bool:
        return self._is_watched or self._clock() - asked_at < UNWATCHED_SECONDS

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
            known.is_current = False
            self._known.pop(known.base_path, None)
            self._selected.pop(known.base_path, None)
        if not answer.distribution:
            if is_current:
                self._absent[path] = self._clock()
                if len(self._absent) > MAX_ABSENT:
                    self._absent.popitem(last=False)
            return None
        pointer = _pointer(answer, self._clock(), is_current=is_current)
        # Who still holds the one before would never be told that it has moved.
        for known_here in (self._known, self._selected):
            before = known_here.get(answer.base_path)
            if before is not None:
                before.is_current = False
        if pointer.until == inf:
            self._known[answer.base_path] = pointer
        else:
            self._selected[answer.base_path] = pointer
            if len(self._selected) > MAX_SELECTED:
                _, oldest = self._selected.popitem(last=False)
                oldest.is_current = False
        return pointer


def _pointer(
    answer: serving_service_pb2.ResolvePointerResponse, now: float, *, is_current: bool
) -> Pointer:
    until = inf
    if answer.fault:
        # It may come to be.
        until = now + UNWATCHED_SECONDS
    elif answer.is_selected:
        until = now + SELECTED_SECONDS
    return Pointer(
        answer.base_path,
        answer.content_set,
        answer.time.seconds,
        now,
        is_current,
        until,
        answer.distribution,
        answer.is_immutable,
        tuple(
            Previous(item.content_set, now + item.remaining.ToMilliseconds() / 1000)
            for item in answer.previous
        ),
        answer.fault,
        answer.is_gone,
        answer.asks_for_versions,
    )


_UNREACHABLE = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.CANCELLED})
