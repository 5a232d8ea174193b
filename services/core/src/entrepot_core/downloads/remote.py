"""Remotes as the downloader knows them: one object for each, read once for each change."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from entrepot_core.domain.errors import ResourceNotFoundError, SecretUnreadableError
from entrepot_core.store import remote_secrets, remotes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from entrepot_core.domain.errors import ServiceError
    from entrepot_core.store.database import Database
    from entrepot_core.store.remotes import RemoteRow
    from entrepot_core.store.secret_key import SecretKey

__all__ = ["NO_REMOTE", "Remote", "Remotes"]

_MOST_KNOWN = 1_000


@dataclass(frozen=True, slots=True)
class Remote:
    """How a remote is reached, and how it wants to be asked. A field is the column of its name."""

    remote_id: int
    revision: int = 0
    full_name: str = ""
    # Its own host is that of this URL.
    url: str = ""
    max_concurrency: int = 10
    max_retries: int = 3
    stall_timeout_seconds: float = 60
    # Requests a second; 0: as many as come.
    rate_limit: float = 0
    # For one file, with all its tries; 0: as long as it takes.
    total_timeout_seconds: float = 0
    username: str = ""
    proxy_url: str = ""
    proxy_username: str = ""
    ca_certificates: str = field(default="", repr=False)
    client_certificate: str = field(default="", repr=False)
    verify_tls: bool = True
    # In the clear, by field: "password", "headers.X-Name".
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    # Why the secrets cannot be read: whoever needs the remote fails with it.
    fault: ServiceError | None = field(default=None, hash=False)


_COLUMNS = tuple(f.name for f in fields(Remote) if f.name not in ("secrets", "fault"))


NO_REMOTE = Remote(0)
"""How a URL is asked that a task names without a remote: with the defaults, as nobody."""


class Remotes:
    """Finds remotes by number. Safe to use from any thread but the downloader's: it may query."""

    def __init__(self, database: Database, secret_key: SecretKey) -> None:
        self._database = database
        self._secret_key = secret_key
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
        found = self._read(row)
        if found.fault is None:
            with self._guard:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[remote_id] = found
        return found

    def _read(self, row: RemoteRow) -> Remote:
        secrets: Mapping[str, str] = {}
        fault = None
        if row.secrets:
            try:
                secrets = remote_secrets.reveal(self._secret_key, row)
            except SecretUnreadableError as error:
                fault = error
        columns = {name: getattr(row, name) for name in _COLUMNS}
        return Remote(**columns, secrets=secrets, fault=fault)
