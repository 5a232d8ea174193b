"""Waiting for everybody who may not have seen what has just been committed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entrepot_core.store.database import Database

__all__ = ["wait_for_older"]

_LONGEST_SECONDS = 300.0
_POLL_SECONDS = 0.02


def wait_for_older(database: Database, longest_seconds: float = _LONGEST_SECONDS) -> bool:
    """Waits until every transaction with a number from before now is over; False if it gave up."""
    ((horizon,),) = database.fetch("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
    deadline = time.monotonic() + longest_seconds
    while True:
        ((oldest,),) = database.fetch(
            "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
        )
        if oldest >= horizon:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
