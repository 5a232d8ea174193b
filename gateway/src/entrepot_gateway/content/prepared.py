"""Answers that were given and can be given again as they are: the shortest way to a file.

A whole file that the server sends by its path, or the word that nothing is there, is the same for
every client that asks without a condition or a range, as long as the pointer holds. So it is kept
by the path as the client spelled it, and nothing is decoded, looked up or made again.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Message, Scope

    from entrepot_gateway.content.answer import Answer
    from entrepot_gateway.content.blobs import Seal
    from entrepot_gateway.content.pointers import Pointer, Pointers

MAX_FILES = 20_000
# Counted apart, so that who asks for what is not there does not make us forget what is.
MAX_ABSENT = 20_000
# Nobody's path is so long by chance.
_MAX_PATH_BYTES = 1024

# Requests with one of these get an answer of their own.
_OWN = frozenset(
    {
        b"range",
        b"if-range",
        b"if-match",
        b"if-none-match",
        b"if-modified-since",
        b"if-unmodified-since",
    }
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The two messages of an answer, and what they depend on."""

    start: Message
    rest: Message
    pointer: Pointer
    # Until when, by the clock of the pointers; None: for as long as the pointer holds.
    until: float | None
    # That the file is still the one that was looked at; None: there is none.
    seal: Seal | None


class PreparedAnswers:
    """Finds the answer to a request that was answered before."""

    def __init__(self, pointers: Pointers) -> None:
        self._pointers = pointers
        self._files: OrderedDict[bytes, Prepared] = OrderedDict()
        self._absent: OrderedDict[bytes, Prepared] = OrderedDict()

    def find(self, scope: Scope) -> Prepared | None:
        """The answer; None if it is to be found out."""
        raw: bytes = scope.get("raw_path") or b""
        known = self._files
        found = known.get(raw)
        if found is None:
            known = self._absent
            found = known.get(raw)
            if found is None:
                return None
        if scope["method"] != "GET" or scope["query_string"]:
            return None
        for name, _ in scope["headers"]:
            if name in _OWN:
                return None
        if not self._pointers.holds(found.pointer, found.until) or (
            found.seal is not None and not found.seal.holds()
        ):
            del known[raw]
            return None
        known.move_to_end(raw)
        return found

    def keep(
        self,
        scope: Scope,
        answer: Answer,
        pointer: Pointer,
        until: float | None = None,
    ) -> None:
        """Keep an answer that was given, if it was one that can be given again."""
        raw: bytes = scope.get("raw_path") or b""
        if (
            answer.repeatable is None
            or not raw
            or len(raw) > _MAX_PATH_BYTES
            or scope["method"] != "GET"
            or scope["query_string"]
            or any(name in _OWN for name, _ in scope["headers"])
        ):
            return
        start, rest, seal = answer.repeatable
        known, most = (self._absent, MAX_ABSENT) if seal is None else (self._files, MAX_FILES)
        known[raw] = Prepared(start, rest, pointer, until, seal)
        if len(known) > most:
            known.popitem(last=False)
