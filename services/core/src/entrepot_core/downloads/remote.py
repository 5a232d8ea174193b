"""Remotes as the downloader knows them: one object for each, read once for each change."""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from entrepot_core.domain.errors import ResourceNotFoundError
from entrepot_core.store import remotes

if TYPE_CHECKING:
    from entrepot_core.store.database import Database

__all__ = ["NO_REMOTE", "Remote", "Remotes"]

_MOST_KNOWN = 1_000


@dataclass(frozen=True, slots=True)
class Remote:
    """How a remote wants to be asked. A field is the column of that name."""

    remote_id: int
    revision: int = 0
    max_concurrency: int = 10
    max_retries: int = 3
    stall_timeout_seconds: float = 60
    # Requests a second; 0: as many as come.
    rate_limit: float = 0
    # For one file, with all its tries; 0: as long as it takes.
    total_timeout_seconds: float = 0


NO_REMOTE = Remote(0)
"""How a URL is asked that a task names without a remote: with the defaults, as nobody."""


class Remotes:
    """Finds remotes by number. Safe to use from any thread but the downloader's: it may query."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._guard = threading.Lock()
        self._known: dict[int, Remote] = {}

    def get(self, remote_id: int, revision: int) -> Remote:
        """The remote as it was at this revision or later. ResourceNotFoundError if it has gone."""
        known = self._known.get(remote_id)
        if known is not None and known.revision >= revision:
            return known
        with self._database.transaction() as cursor:
            row = remotes.find_by_id(cursor, remote_id)
        if row is None:
            raise ResourceNotFoundError("The remote has just been deleted.")
        found = Remote(**{field.name: getattr(row, field.name) for field in fields(Remote)})
        with self._guard:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[remote_id] = found
        return found
