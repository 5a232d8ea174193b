"""CORE_ADD: units that exist become units of a repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_core.dispatch.assignment import STAGED
from entrepot_core.store import changes, retry

if TYPE_CHECKING:
    from entrepot_core.dispatch.assignment import Assignment
    from entrepot_core.dispatch.verdict import Completion
    from entrepot_core.store.database import Cursor, Database

__all__ = ["Additions"]


class Additions:
    """Stages the units to add."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __call__(self, assignment: Assignment) -> Completion:
        """Stages them."""
        target = assignment.version("repository")

        def stage(cursor: Cursor) -> None:
            changes.stage_add(
                cursor,
                assignment.claimed.workspace_id,
                target.repository_id,
                assignment.content_ids,
            )

        retry.run(self._database, stage)
        return STAGED
