"""Remotes: where content comes from."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from entrepot_core.domain.errors import ResourceInUseError
from entrepot_core.store import named

if TYPE_CHECKING:
    from entrepot_core.store.database import Cursor

__all__ = [
    "RemoteRow",
    "create",
    "delete",
    "find",
    "find_by_id",
    "get",
    "keep_secrets",
    "page",
    "update",
]

_TABLE = "remote"
_COLUMNS = (
    "remote_id",
    *named.COMMON_COLUMNS,
    "url",
    "policy",
    "max_concurrency",
    "max_retries",
    "stall_timeout_seconds",
    "username",
    "proxy_url",
    "proxy_username",
    "ca_certificates",
    "client_certificate",
    "verify_tls",
    "rate_limit",
    "total_timeout_seconds",
    "secrets",
)

# A file that some version has, that is not stored, and that no other remote has.
_ONLY_HERE = """
SELECT s.relative_path
  FROM artifact_source s
  JOIN artifact a USING (content_id, relative_path)
 WHERE s.remote_id = %(remote)s
   AND NOT EXISTS (SELECT FROM blob b WHERE b.digest = a.digest AND b.state = 'live')
   AND NOT EXISTS (
     SELECT FROM artifact_source o JOIN remote USING (remote_id)
      WHERE o.content_id = s.content_id AND o.relative_path = s.relative_path
        AND o.remote_id <> s.remote_id)
   AND EXISTS (
     SELECT FROM member m
       JOIN version v ON v.repository_id = m.repository_id
        AND v.number >= m.added_in AND v.number < m.removed_in
      WHERE m.content_id = s.content_id)
 LIMIT 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteRow(named.Named):
    """A remote; `policy` is "immediate", "on_demand" or "streamed"."""

    remote_id: int
    url: str
    policy: str
    max_concurrency: int
    max_retries: int
    stall_timeout_seconds: int
    username: str = ""
    proxy_url: str = ""
    proxy_username: str = ""
    ca_certificates: str = ""
    client_certificate: str = ""
    verify_tls: bool = True
    rate_limit: float = 0
    total_timeout_seconds: int = 0
    # Encrypted, by field: "password", "headers.X-Name".
    secrets: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def full_name(self) -> str:
        return f"remotes/{self.plugin}/{self.name}"

    @property
    def etag(self) -> str:
        return named.etag_of(self.remote_id, self.revision)


def create(cursor: Cursor, values: dict[str, Any]) -> RemoteRow:
    """A new remote; `values` are columns, `plugin`, `name` and `url` among them."""
    return RemoteRow(**named.insert(cursor, _TABLE, values, _COLUMNS))


def find(cursor: Cursor, full_name: str) -> RemoteRow | None:
    """The remote named "remotes/file/bar", or None."""
    row = named.select(cursor, _TABLE, _COLUMNS, full_name)
    return None if row is None else RemoteRow(**row)


def get(cursor: Cursor, full_name: str, *, lock: bool = False) -> RemoteRow:
    """As `find`; raises ResourceNotFoundError. `lock` keeps others from changing it."""
    row = named.select(cursor, _TABLE, _COLUMNS, full_name, lock=lock)
    if row is None:
        raise named.not_found(full_name)
    return RemoteRow(**row)


def find_by_id(cursor: Cursor, remote_id: int) -> RemoteRow | None:
    """The remote with this number, or None."""
    cursor.execute("SELECT plugin, name FROM remote WHERE remote_id = %s", (remote_id,))
    row = cursor.fetchone()
    return None if row is None else find(cursor, f"remotes/{row[0]}/{row[1]}")


def page(cursor: Cursor, wanted: named.Page) -> list[RemoteRow]:
    """One page of remotes, by plugin and name."""
    return [RemoteRow(**row) for row in named.page(cursor, _TABLE, _COLUMNS, wanted)]


def keep_secrets(cursor: Cursor, row: RemoteRow, secrets: dict[str, str]) -> RemoteRow:
    """A remote that has just been made, with its secrets, encrypted by field."""
    cursor.execute(
        "UPDATE remote SET secrets = %s WHERE remote_id = %s",
        (json.dumps(secrets), row.remote_id),
    )
    return replace(row, secrets=secrets)


def update(cursor: Cursor, full_name: str, values: dict[str, Any], etag: str = "") -> RemoteRow:
    """The remote with some columns changed. Raises ResourceNotFoundError, EtagMismatchError."""
    named.update(cursor, _TABLE, _locked(cursor, full_name), values, etag)
    return get(cursor, full_name)


def delete(cursor: Cursor, full_name: str, etag: str = "") -> None:
    """Deletes a remote.

    Raises ResourceNotFoundError, EtagMismatchError, ResourceInUseError if a task uses it, or if
    some repository has a file that is not stored and comes from nowhere else.
    """
    named.refuse_while_locked(cursor, full_name)
    row = _locked(cursor, full_name)
    named.check_etag(_TABLE, row, etag)
    cursor.execute(_ONLY_HERE, {"remote": row["remote_id"]})
    needed = cursor.fetchone()
    if needed is not None:
        raise ResourceInUseError(
            f'{full_name} is the only source of content on demand, such as "{needed[0]}"; '
            "download or remove that content first.",
            metadata={"resource": full_name},
        )
    named.delete(cursor, _TABLE, row, etag)


def _locked(cursor: Cursor, full_name: str) -> dict[str, Any]:
    row = named.select(cursor, _TABLE, _COLUMNS, full_name, lock=True)
    if row is None:
        raise named.not_found(full_name)
    return row
