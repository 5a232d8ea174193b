"""Claiming ready tasks: in a transaction of its own, or in one that completes a task."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

from entrepot_core.store import queue
from entrepot_rpc.failpoints import failpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from entrepot_core.store.database import Cursor

__all__ = ["Claim", "Following"]

_TOKEN_BYTES = 32


class Claim:
    """Claims at most some tasks. A transaction that is run again claims anew; the last counts."""

    def __init__(self, dispatcher_id: int, most: int, *, waits: bool = True) -> None:
        """Without `waits` nothing is claimed while somebody else claims."""
        self.most = most
        self.claimed: list[queue.Claimed] = []
        self.is_full = False
        """Whether there may be more to claim."""
        self._dispatcher_id = dispatcher_id
        self._waits = waits
        self._tokens: dict[bytes, str] = {}

    def __call__(self, cursor: Cursor) -> None:
        """Claims."""
        tokens = [secrets.token_urlsafe(_TOKEN_BYTES) for _ in range(self.most)]
        self.claimed = []
        self._tokens = {hashlib.sha256(token.encode()).digest(): token for token in tokens}
        claim = queue.claim if self._waits else queue.claim_at_once
        found = claim(cursor, self._dispatcher_id, list(self._tokens))
        self.is_full = found is None or len(found) == self.most
        self.claimed = found or []
        if self.claimed:
            failpoint("claim.inserted")

    def token_of(self, claimed: queue.Claimed) -> str:
        """The token that was made for an attempt."""
        return self._tokens[claimed.token_digest]


class Following:
    """Claims what is next at the end of the transaction that completes a task."""

    def __init__(self, begin: Callable[[], Claim | None]) -> None:
        """`begin` makes the claim, or None if nothing is to be claimed; it is called once."""
        self._begin = begin
        self.claim: Claim | None = None

    def __call__(self, cursor: Cursor) -> None:
        """Claims."""
        if self.claim is None:
            self.claim = self._begin()
        if self.claim is not None:
            self.claim(cursor)
