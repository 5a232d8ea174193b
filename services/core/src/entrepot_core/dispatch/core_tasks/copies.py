"""CORE_COPY: units of one repository become units of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_core.dispatch.assignment import STAGED
from entrepot_core.dispatch.core_tasks.selected import selected
from entrepot_core.store import changes, retry

if TYPE_CHECKING:
    from entrepot_core.dispatch.assignment import Assignment
    from entrepot_core.dispatch.verdict import Completion
    from entrepot_core.plugins.registry import Registry
    from entrepot_core.store.database import Cursor, Database

__all__ = ["Copies"]


class Copies:
    """Stages the units to copy."""

    def __init__(self, database: Database, registry: Registry) -> None:
        self._database = database
        self._registry = registry

    def __call__(self, assignment: Assignment) -> Completion:
        """Stages them."""

        def stage(cursor: Cursor) -> None:
            changes.stage_copy(
                cursor,
                assignment.claimed.workspace_id,
                assignment.version("source"),
                assignment.version("repository").repository_id,
                selected(cursor, self._registry, assignment),
            )

        retry.run(self._database, stage)
        return STAGED
