"""Repositories: the rows, without their versions' content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from entrepot_core.domain import set_digest
from entrepot_core.domain.errors import ResourceInUseError, ResourceNotFoundError
from entrepot_core.store import named, prepared

if TYPE_CHECKING:
    from entrepot_core.store.database import Cursor

__all__ = [
    "RepositoryRow",
    "create",
    "delete",
    "find",
    "find_by_id",
    "get",
    "hint",
    "page",
    "update",
]

_TABLE = "repository"
_COLUMNS = ("repository_id", *named.COMMON_COLUMNS, "retain_versions", "latest", "next_number")


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryRow(named.Named):
    """A repository. `unit_count` is that of its latest version."""

    repository_id: int
    retain_versions: int
    latest: int
    next_number: int
    unit_count: int

    @property
    def full_name(self) -> str:
        return f"repositories/{self.plugin}/{self.name}"

    @property
    def etag(self) -> str:
        return named.etag_of(self.repository_id, self.revision)


def create(cursor: Cursor, values: dict[str, Any]) -> RepositoryRow:
    """A new repository with an empty version 0; `values` are columns, with `plugin` and `name`."""
    row = named.insert(cursor, _TABLE, values, _COLUMNS)
    cursor.execute(
        "INSERT INTO repository_state (repository_id, set_state) VALUES (%s, %s)",
        (row["repository_id"], set_digest.EMPTY),
    )
    cursor.execute(
        "INSERT INTO version (repository_id, number, unit_count, added, removed, set_digest)"
        " VALUES (%s, 0, 0, 0, 0, %s)",
        (row["repository_id"], set_digest.digest(set_digest.EMPTY)),
    )
    return RepositoryRow(**row, unit_count=0)


def find(cursor: Cursor, full_name: str) -> RepositoryRow | None:
    """The repository named "repositories/file/foo", or None."""
    row = named.select(cursor, _TABLE, _COLUMNS, full_name)
    return None if row is None else _with_counts(cursor, [row])[0]


def exists(cursor: Cursor, full_name: str) -> bool:
    """Whether one has this name; False also for what cannot be a name."""
    try:
        return named.select(cursor, _TABLE, ("repository_id",), full_name) is not None
    except ResourceNotFoundError:
        return False


def get(cursor: Cursor, full_name: str) -> RepositoryRow:
    """As `find`; raises ResourceNotFoundError."""
    row = find(cursor, full_name)
    if row is None:
        raise named.not_found(full_name)
    return row


def find_by_id(cursor: Cursor, repository_id: int) -> RepositoryRow | None:
    """The repository with this number, or None."""
    cursor.execute(
        "SELECT plugin, name FROM repository WHERE repository_id = %s", (repository_id,)
    )
    row = cursor.fetchone()
    return None if row is None else find(cursor, f"repositories/{row[0]}/{row[1]}")


def page(cursor: Cursor, wanted: named.Page) -> list[RepositoryRow]:
    """One page of repositories, by plugin and name."""
    return _with_counts(cursor, named.page(cursor, _TABLE, _COLUMNS, wanted))


def update(
    cursor: Cursor, full_name: str, values: dict[str, Any], etag: str = ""
) -> RepositoryRow:
    """The repository with some columns changed.

    Raises ResourceNotFoundError, EtagMismatchError.
    """
    row = _locked(cursor, full_name)
    named.update(cursor, _TABLE, row, values, etag)
    return get(cursor, full_name)


def delete(cursor: Cursor, full_name: str, etag: str = "") -> int:
    """Deletes a repository, and returns its number; its member rows are collected later.

    Raises ResourceNotFoundError, EtagMismatchError, ResourceInUseError if a task or a distribution
    uses it.
    """
    named.refuse_while_locked(cursor, full_name)
    row = _locked(cursor, full_name)
    named.check_etag(_TABLE, row, etag)
    cursor.execute(
        "SELECT d.plugin, d.name FROM distribution d"
        " LEFT JOIN publication p USING (publication_id)"
        " WHERE %s IN (d.repository_id, p.repository_id) ORDER BY d.plugin, d.name LIMIT 1",
        (row["repository_id"],),
    )
    served = cursor.fetchone()
    if served is not None:
        other = f"distributions/{served[0]}/{served[1]}"
        raise ResourceInUseError(
            f"{full_name} is served by {other}; delete that or let it serve something else.",
            metadata={"resource": full_name, "user": other},
        )
    cursor.execute(
        "INSERT INTO deleted_repository (repository_id) VALUES (%s)", (row["repository_id"],)
    )
    named.delete(cursor, _TABLE, row, etag)
    return int(row["repository_id"])


def hint(cursor: Cursor, repository_id: int, base_version: int) -> bytes:
    """What the plugin asked to be reminded of with this very version; empty if nothing."""
    prepared.execute(
        cursor,
        "SELECT hint FROM repository_state WHERE repository_id = %s AND hint_version = %s",
        (repository_id, base_version),
    )
    row = cursor.fetchone()
    return bytes(row[0]) if row is not None and row[0] is not None else b""


def _locked(cursor: Cursor, full_name: str) -> dict[str, Any]:
    row = named.select(cursor, _TABLE, _COLUMNS, full_name, lock=True)
    if row is None:
        raise named.not_found(full_name)
    return row


def _with_counts(cursor: Cursor, rows: list[dict[str, Any]]) -> list[RepositoryRow]:
    prepared.execute(
        cursor,
        "SELECT v.repository_id, v.unit_count FROM version v JOIN repository r"
        " ON r.repository_id = v.repository_id AND r.latest = v.number"
        " WHERE r.repository_id = ANY(%s::bigint[])",
        ([row["repository_id"] for row in rows],),
    )
    counts: dict[int, int] = dict(cursor.fetchall())
    return [RepositoryRow(**row, unit_count=counts.get(row["repository_id"], 0)) for row in rows]
