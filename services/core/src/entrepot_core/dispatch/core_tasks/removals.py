"""CORE_REMOVE: units of a repository go, and those that need them if asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_core.dispatch.assignment import STAGED
from entrepot_core.dispatch.core_tasks.selected import selected
from entrepot_core.plugins import selection
from entrepot_core.store import changes, retry

if TYPE_CHECKING:
    from entrepot_core.dispatch.assignment import Assignment
    from entrepot_core.dispatch.verdict import Completion
    from entrepot_core.plugins.registry import Registry
    from entrepot_core.store.database import Cursor, Database

__all__ = ["Removals"]


class Removals:
    """Stages the units to remove."""

    def __init__(self, database: Database, registry: Registry) -> None:
        self._database = database
        self._registry = registry

    def __call__(self, assignment: Assignment) -> Completion:
        """Stages them."""
        choice = selection.read(assignment.parameters.message)

        def stage(cursor: Cursor) -> None:
            changes.stage_remove(
                cursor,
                assignment.claimed.workspace_id,
                assignment.version("repository"),
                selected(cursor, self._registry, assignment),
                cascade=choice.cascade,
            )

        retry.run(self._database, stage)
        return STAGED
