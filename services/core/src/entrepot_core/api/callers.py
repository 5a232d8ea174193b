"""Whom the token of a call stands for."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import TYPE_CHECKING

from entrepot_core.store import api_tokens
from entrepot_core.store.api_tokens import ADMIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from entrepot_core.store.database import Database

__all__ = ["Callers"]

# How long a revoked token may still work.
_TRUSTED_SECONDS = 1.0
_MOST_KNOWN = 1_000


class Callers:
    """Knows the administrator's token, and asks for the others, at most once a second each.

    Args:
        admin_token: That of the settings; nobody is the administrator if it is empty.
        find: Whom another token stands for, by its SHA-256; raises if that cannot be told now.
    """

    def __init__(
        self, admin_token: str, find: Callable[[bytes], str | None] = lambda _digest: None
    ) -> None:
        self._admin = _digest(admin_token) if admin_token else b""
        self._find = find
        self._known: dict[bytes, tuple[str | None, float]] = {}

    @classmethod
    def of(cls, admin_token: str, database: Database) -> Callers:
        """Those of an installation."""

        def find(digest: bytes) -> str | None:
            with database.transaction() as cursor:
                return api_tokens.find_principal(cursor, digest)

        return cls(admin_token, find)

    def is_admin(self, token: str) -> bool:
        """Whether it is the administrator's."""
        # Only digests are compared and looked up: time tells nothing of the tokens.
        return hmac.compare_digest(_digest(token), self._admin)

    def principal(self, token: str) -> str | None:
        """Whom a token stands for; None if it is not valid."""
        if not token:
            return None
        if self.is_admin(token):
            return ADMIN
        digest = _digest(token)
        known = self._known.get(digest)
        if known is not None and time.monotonic() < known[1]:
            return known[0]
        found = self._find(digest)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[digest] = (found, time.monotonic() + _TRUSTED_SECONDS)
        return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
