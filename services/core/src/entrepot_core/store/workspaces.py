"""Workspaces as those see them who call with the token of an attempt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_core.domain.errors import AttemptSupersededError
from entrepot_core.store import prepared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from entrepot_core.store.database import Cursor

__all__ = ["Workspace", "check", "find", "readable", "share_fate"]


@dataclass(frozen=True, slots=True)
class Workspace:
    """The attempt of a token; `plugin` is the one whose task type it is."""

    workspace_id: int
    task_id: str
    attempt: int
    plugin: str


def find(cursor: Cursor, token_digest: bytes) -> Workspace | None:
    """The attempt whose token has this SHA-256, or None."""
    prepared.execute(
        cursor,
        "SELECT w.workspace_id, w.task_id::text, w.attempt, split_part(t.task_type, '/', 1)"
        " FROM workspace w JOIN task t USING (task_id) WHERE w.token_digest = %s",
        (token_digest,),
    )
    row = cursor.fetchone()
    return None if row is None else Workspace(*row)


def share_fate(cursor: Cursor) -> None:
    """Lets the transaction's commit not wait for the disk.

    For what an attempt alone relies on: a crash of the database takes the attempt as well, and the
    commit of its version, which does wait, brings all before it to the disk.
    """
    cursor.execute("SET LOCAL synchronous_commit = off")


def check(cursor: Cursor, workspace_id: int) -> None:
    """Raises AttemptSupersededError if the attempt is over."""
    cursor.execute("SELECT FROM workspace WHERE workspace_id = %s", (workspace_id,))
    if not cursor.rowcount:
        raise AttemptSupersededError("Another attempt owns the task now; stop.")


def readable(cursor: Cursor, workspace_id: int, content_ids: Sequence[int]) -> set[int]:
    """Those of the units that the attempt may read: named, of a lent version, or its own."""
    cursor.execute(_READABLE, {"workspace": workspace_id, "units": list(content_ids)})
    return {row[0] for row in cursor.fetchall()}


_READABLE = """
SELECT u.content_id FROM unnest(%(units)s::bigint[]) AS u(content_id)
 WHERE EXISTS (SELECT FROM lent_content l
                WHERE l.workspace_id = %(workspace)s AND l.content_id = u.content_id)
    OR EXISTS (SELECT FROM staged g
                WHERE g.workspace_id = %(workspace)s AND g.content_id = u.content_id)
    OR EXISTS (SELECT FROM lent_repository l
                 JOIN member m ON m.repository_id = l.repository_id
                  AND m.added_in <= l.base_version AND m.removed_in > l.base_version
                WHERE l.workspace_id = %(workspace)s AND m.content_id = u.content_id)
"""
