"""What an attempt may read and write: what its task's parameters name.

Called when an attempt begins, in the transaction that makes its workspace. A version that is lent
is not deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg2.extras import execute_values

from entrepot_core.domain.errors import ResourceNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from entrepot_core.store.database import Cursor

__all__ = [
    "LentRepository",
    "lend_content",
    "lend_remote",
    "lend_repository",
    "lent_remotes",
    "lent_repositories",
    "lent_revisions",
    "names_url",
    "take_back",
]


@dataclass(frozen=True, slots=True)
class LentRepository:
    """A repository version by role; a writable one is the base of the version to be made."""

    role: str
    repository_id: int
    base_version: int
    is_writable: bool


def lend_repository(cursor: Cursor, workspace_id: int, lent: LentRepository) -> None:
    """Lends a version. Raises ResourceNotFoundError if it was deleted meanwhile."""
    cursor.execute(
        "SELECT FROM version WHERE repository_id = %s AND number = %s FOR KEY SHARE",
        (lent.repository_id, lent.base_version),
    )
    if cursor.fetchone() is None:
        raise ResourceNotFoundError(
            f"Version {lent.base_version} of the repository given as {lent.role} was deleted."
        )
    cursor.execute(
        "INSERT INTO lent_repository"
        " (workspace_id, role, repository_id, base_version, is_writable)"
        " VALUES (%s, %s, %s, %s, %s)",
        (workspace_id, lent.role, lent.repository_id, lent.base_version, lent.is_writable),
    )


def lend_remote(cursor: Cursor, workspace_id: int, role: str, remote_id: int) -> None:
    """Lends a remote."""
    cursor.execute(
        "INSERT INTO lent_remote (workspace_id, role, remote_id) VALUES (%s, %s, %s)",
        (workspace_id, role, remote_id),
    )


def lend_content(cursor: Cursor, workspace_id: int, content_ids: Iterable[int]) -> None:
    """Lends units that the parameters name."""
    execute_values(
        cursor,
        "INSERT INTO lent_content (workspace_id, content_id) VALUES %s ON CONFLICT DO NOTHING",
        [(workspace_id, content_id) for content_id in sorted(set(content_ids))],
    )


def lent_repositories(cursor: Cursor, workspace_id: int) -> dict[str, LentRepository]:
    """The lent repositories, by role."""
    cursor.execute(
        "SELECT role, repository_id, base_version, is_writable FROM lent_repository"
        " WHERE workspace_id = %s",
        (workspace_id,),
    )
    return {row[0]: LentRepository(*row) for row in cursor.fetchall()}


def lent_remotes(cursor: Cursor, workspace_id: int) -> dict[str, int]:
    """Numbers of the lent remotes, by role."""
    cursor.execute(
        "SELECT role, remote_id FROM lent_remote WHERE workspace_id = %s", (workspace_id,)
    )
    return dict(cursor.fetchall())


def lent_revisions(cursor: Cursor, workspace_id: int) -> dict[str, tuple[int, int]]:
    """Number and revision of the lent remotes that still are, by role."""
    cursor.execute(
        "SELECT l.role, remote_id, r.revision FROM lent_remote l JOIN remote r USING (remote_id)"
        " WHERE l.workspace_id = %s",
        (workspace_id,),
    )
    return {role: (remote_id, revision) for role, remote_id, revision in cursor.fetchall()}


def names_url(cursor: Cursor, workspace_id: int, url: str) -> bool:
    """Whether the parameters of the attempt's task have the URL, so that its user wants it."""
    cursor.execute(
        "SELECT FROM workspace w JOIN task_detail d USING (task_id)"
        " WHERE w.workspace_id = %s AND position(%s::bytea IN d.parameters) > 0",
        (workspace_id, url.encode()),
    )
    return cursor.fetchone() is not None


def take_back(cursor: Cursor, limit: int) -> int:
    """Forgets what gone workspaces were lent, at most `limit` rows of each kind.

    Returns how many rows that were.
    """
    gone = 0
    for table in ("lent_repository", "lent_remote", "lent_content"):
        cursor.execute(
            f"DELETE FROM {table} WHERE ctid = ANY(ARRAY("
            f"SELECT l.ctid FROM {table} l WHERE NOT EXISTS"
            " (SELECT FROM workspace w WHERE w.workspace_id = l.workspace_id) LIMIT %s))",
            (limit,),
        )
        gone += cursor.rowcount
    return gone
