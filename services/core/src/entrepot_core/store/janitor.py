"""Clearing up in chunks what attempts that are over left, and what deleted versions had.

Each function deletes at most some rows in the transaction it is given and returns how many, so
that no lock is held for long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_core.store import lending, plans, versions
from entrepot_core.store.blob_collection import forget_attempts

if TYPE_CHECKING:
    from entrepot_core.store.database import Cursor

__all__ = [
    "ALL",
    "CHUNK",
    "forget_lent",
    "forget_plans",
    "forget_sources",
    "forget_staged",
    "sweep_versions",
]

CHUNK = 10_000

_STAGED = ("staged", "staged_edge", "staged_file", "staged_publication", "stage_call")


def forget_staged(cursor: Cursor, limit: int = CHUNK) -> int:
    """Deletes what is staged in workspaces that are gone."""
    gone = 0
    for table in _STAGED:
        cursor.execute(
            f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT s.ctid FROM {table} s"
            " WHERE NOT EXISTS (SELECT FROM workspace w WHERE w.workspace_id = s.workspace_id)"
            " LIMIT %s))",
            (limit,),
        )
        gone += cursor.rowcount
    return gone


def forget_lent(cursor: Cursor, limit: int = CHUNK) -> int:
    """Forgets what gone workspaces were lent."""
    return lending.take_back(cursor, limit)


def forget_plans(cursor: Cursor, limit: int = CHUNK) -> int:
    """Deletes plans whose time is up or whose dry run is gone."""
    return plans.forget(cursor, limit)


def sweep_versions(cursor: Cursor, limit: int = CHUNK) -> int:
    """Deletes rows of members that are in no version any more."""
    return versions.sweep(cursor, limit)


def forget_sources(cursor: Cursor, limit: int = CHUNK) -> int:
    """Deletes sources whose remote is gone."""
    cursor.execute(
        "DELETE FROM artifact_source WHERE ctid = ANY(ARRAY("
        "SELECT s.ctid FROM (SELECT DISTINCT remote_id FROM artifact_source) gone"
        " JOIN artifact_source s USING (remote_id)"
        " WHERE NOT EXISTS (SELECT FROM remote r WHERE r.remote_id = gone.remote_id) LIMIT %s))",
        (limit,),
    )
    return cursor.rowcount


ALL = (
    forget_staged,
    forget_lent,
    forget_attempts,
    forget_plans,
    sweep_versions,
    forget_sources,
)
"""All of them, for whoever runs them every few seconds."""
