"""Publications: the generated files of one version."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_core.domain.errors import ResourceInUseError
from entrepot_core.domain.names import version_name
from entrepot_core.store import named

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from entrepot_core.store.database import Cursor

__all__ = ["PublicationRow", "delete", "find", "get", "page"]

_SELECT = """
SELECT p.publication_id::text, p.plugin, p.repository_id, r.plugin, r.name, p.number, p.file_count,
       p.pass_through, coalesce(p.task_id::text, ''), p.created_at
  FROM publication p JOIN repository r USING (repository_id)
"""
_LAST = "ffffffff-ffff-ffff-ffff-ffffffffffff"


@dataclass(frozen=True, slots=True)
class PublicationRow:
    """A publication; `version` is the full name of what it publishes."""

    publication_id: str
    plugin: str
    repository_id: int
    version: str
    file_count: int
    pass_through: bool
    task_id: str
    created_at: datetime

    @property
    def full_name(self) -> str:
        return f"publications/{self.plugin}/{self.publication_id}"


def find(cursor: Cursor, full_name: str) -> PublicationRow | None:
    """The publication of this name, or None."""
    plugin, given = _split(full_name)
    try:
        publication_id = str(uuid.UUID(given))
    except ValueError:
        return None
    cursor.execute(
        _SELECT + "WHERE p.publication_id = %s::uuid AND p.plugin = %s", (publication_id, plugin)
    )
    row = cursor.fetchone()
    return None if row is None else _row(row)


def get(cursor: Cursor, full_name: str) -> PublicationRow:
    """As `find`; raises ResourceNotFoundError."""
    row = find(cursor, full_name)
    if row is None:
        raise named.not_found(full_name)
    return row


def page(
    cursor: Cursor, plugin: str, repository_id: int | None, before: str, size: int
) -> list[PublicationRow]:
    """The newest publications older than the id `before`, of a plugin ("": of all)."""
    cursor.execute(
        _SELECT + "WHERE p.publication_id < %(before)s::uuid"
        " AND (%(plugin)s = '' OR p.plugin = %(plugin)s)"
        " AND (%(repository)s::bigint IS NULL OR p.repository_id = %(repository)s)"
        " ORDER BY p.publication_id DESC LIMIT %(size)s",
        {
            "before": before or _LAST,
            "plugin": plugin,
            "repository": repository_id,
            "size": size,
        },
    )
    return [_row(row) for row in cursor.fetchall()]


def delete(cursor: Cursor, full_name: str) -> None:
    """Deletes a publication with its files.

    Raises ResourceNotFoundError; ResourceInUseError if a task uses or a distribution serves it.
    """
    named.refuse_while_locked(cursor, full_name)
    row = get(cursor, full_name)
    cursor.execute(
        "SELECT FROM publication WHERE publication_id = %s::uuid FOR UPDATE", (row.publication_id,)
    )
    cursor.execute(
        "SELECT plugin, name FROM distribution WHERE publication_id = %s::uuid"
        " ORDER BY plugin, name LIMIT 1",
        (row.publication_id,),
    )
    served = cursor.fetchone()
    if served is not None:
        other = f"distributions/{served[0]}/{served[1]}"
        raise ResourceInUseError(
            f"{full_name} is served by {other}; delete that or let it serve something else.",
            metadata={"resource": full_name, "user": other},
        )
    cursor.execute(
        "DELETE FROM publication WHERE publication_id = %s::uuid", (row.publication_id,)
    )


def _split(full_name: str) -> tuple[str, str]:
    segments = full_name.split("/")
    if len(segments) != 3 or segments[0] != "publications":  # noqa: PLR2004  collection, plugin, id
        raise named.not_found(full_name)
    return segments[1], segments[2]


def _row(row: tuple[Any, ...]) -> PublicationRow:
    publication_id, plugin, repository_id, owner, name, number, *rest = row
    version = version_name(f"repositories/{owner}/{name}", number)
    return PublicationRow(publication_id, plugin, repository_id, version, *rest)
