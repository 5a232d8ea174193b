"""Distributions: what is served at which base path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from entrepot_core.domain.errors import BasePathOverlapsError
from entrepot_core.domain.names import version_name
from entrepot_core.store import former_targets, named

if TYPE_CHECKING:
    from entrepot_core.store.database import Cursor

__all__ = ["DistributionRow", "create", "delete", "example_path", "find", "get", "page", "update"]

_TABLE = "distribution"
_COLUMNS = (
    "distribution_id",
    *named.COMMON_COLUMNS,
    "base_path",
    "repository_id",
    "number",
    "publication_id",
    "grace_seconds",
)
_TARGET = ("repository_id", "number", "publication_id")
# Base paths are compared with all others under one lock: two-integer locks are single runners'.
_BASE_PATHS = (0, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributionRow(named.Named):
    """A distribution; what it serves is one of the three names, or nothing yet."""

    distribution_id: int
    base_path: str
    repository_id: int | None
    number: int | None
    publication_id: str | None
    grace_seconds: int
    repository: str
    version: str
    publication: str

    @property
    def full_name(self) -> str:
        return f"distributions/{self.plugin}/{self.name}"

    @property
    def etag(self) -> str:
        return named.etag_of(self.distribution_id, self.revision)


def create(cursor: Cursor, values: dict[str, Any]) -> DistributionRow:
    """A new distribution; `values` are columns. Raises NameTakenError, BasePathOverlapsError."""
    _lock_base_paths(cursor)
    full_name = f"distributions/{values['plugin']}/{values['name']}"
    # First, as who repeats a request has taken the base path as well.
    if named.select(cursor, _TABLE, _COLUMNS, full_name) is not None:
        raise named.name_taken(full_name)
    _check_base_path(cursor, values["base_path"], 0)
    return _complete(cursor, [named.insert(cursor, _TABLE, values, _COLUMNS)])[0]


def find(cursor: Cursor, full_name: str) -> DistributionRow | None:
    """The distribution named "distributions/file/dev", or None."""
    row = named.select(cursor, _TABLE, _COLUMNS, full_name)
    return None if row is None else _complete(cursor, [row])[0]


def get(cursor: Cursor, full_name: str) -> DistributionRow:
    """As `find`; raises ResourceNotFoundError."""
    row = find(cursor, full_name)
    if row is None:
        raise named.not_found(full_name)
    return row


def page(cursor: Cursor, wanted: named.Page) -> list[DistributionRow]:
    """One page of distributions, by plugin and name."""
    return _complete(cursor, named.page(cursor, _TABLE, _COLUMNS, wanted))


def update(
    cursor: Cursor, full_name: str, values: dict[str, Any], etag: str = ""
) -> DistributionRow:
    """The distribution with some columns changed.

    Raises ResourceNotFoundError, EtagMismatchError, BasePathOverlapsError.
    """
    if "base_path" in values:
        _lock_base_paths(cursor)
    row = _locked(cursor, full_name)
    if values.get("base_path", row["base_path"]) != row["base_path"]:
        _check_base_path(cursor, values["base_path"], row["distribution_id"])
    if any(column in values and values[column] != row[column] for column in _TARGET):
        former_targets.record(cursor, row["distribution_id"])
    named.update(cursor, _TABLE, row, values, etag)
    return get(cursor, full_name)


def delete(cursor: Cursor, full_name: str, etag: str = "") -> DistributionRow:
    """Deletes a distribution and returns what it was.

    Raises ResourceNotFoundError, EtagMismatchError, ResourceInUseError if a task uses it.
    """
    named.refuse_while_locked(cursor, full_name)
    row = _locked(cursor, full_name)
    complete = _complete(cursor, [row])[0]
    named.delete(cursor, _TABLE, row, etag)
    return complete


def example_path(cursor: Cursor, row: DistributionRow) -> str:
    """Path of some file that is served; empty if there is none."""
    cursor.execute(
        _EXAMPLE,
        {
            "repository": row.repository_id,
            "number": row.number,
            "publication": row.publication_id,
        },
    )
    found = cursor.fetchone()
    return str(found[0]) if found is not None and found[0] is not None else ""


def _lock_base_paths(cursor: Cursor) -> None:
    cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", _BASE_PATHS)


def _check_base_path(cursor: Cursor, base_path: str, own_id: int) -> None:
    _lock_base_paths(cursor)
    cursor.execute(
        "SELECT plugin, name, base_path FROM distribution WHERE distribution_id <> %(own)s"
        " AND (base_path = ANY(%(above)s::text[])"
        "  OR (base_path > %(path)s || '/' AND base_path < %(path)s || '0'))"
        " ORDER BY base_path LIMIT 1",
        {"own": own_id, "path": base_path, "above": _with_folders(base_path)},
    )
    other = cursor.fetchone()
    if other is not None:
        name = f"distributions/{other[0]}/{other[1]}"
        raise BasePathOverlapsError(
            f'The base path "{base_path}" overlaps "{other[2]}" of {name}.',
            metadata={"base_path": base_path, "other": name},
        )


def _with_folders(path: str) -> list[str]:
    segments = path.split("/")
    return ["/".join(segments[:count]) for count in range(1, len(segments) + 1)]


def _locked(cursor: Cursor, full_name: str) -> dict[str, Any]:
    row = named.select(cursor, _TABLE, _COLUMNS, full_name, lock=True)
    if row is None:
        raise named.not_found(full_name)
    return row


def _complete(cursor: Cursor, rows: list[dict[str, Any]]) -> list[DistributionRow]:
    cursor.execute(
        "SELECT repository_id, 'repositories/' || plugin || '/' || name FROM repository"
        " WHERE repository_id = ANY(%s::bigint[])",
        ([row["repository_id"] for row in rows if row["repository_id"] is not None],),
    )
    repositories: dict[int, str] = dict(cursor.fetchall())
    cursor.execute(
        "SELECT publication_id, 'publications/' || plugin || '/' || publication_id"
        " FROM publication WHERE publication_id = ANY(%s::uuid[])",
        ([row["publication_id"] for row in rows if row["publication_id"] is not None],),
    )
    publications: dict[str, str] = dict(cursor.fetchall())
    complete = []
    for row in rows:
        repository = repositories.get(row["repository_id"], "")
        number = row["number"]
        complete.append(
            DistributionRow(
                **row,
                repository=repository if number is None else "",
                version="" if number is None else version_name(repository, number),
                publication=publications.get(row["publication_id"], ""),
            )
        )
    return complete


_EXAMPLE = """
WITH served AS (
  SELECT r.repository_id, coalesce(%(number)s, r.latest) AS number
    FROM repository r WHERE r.repository_id = %(repository)s
   UNION ALL
  SELECT p.repository_id, p.number FROM publication p WHERE p.publication_id = %(publication)s
)
SELECT coalesce(
  (SELECT m.path FROM served s JOIN member m ON m.repository_id = s.repository_id
    WHERE m.path IS NOT NULL AND m.added_in <= s.number AND m.removed_in > s.number
    ORDER BY m.path LIMIT 1),
  (SELECT f.path FROM published_file f WHERE f.publication_id = %(publication)s
    ORDER BY f.path LIMIT 1))
"""
