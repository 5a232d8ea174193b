"""Which units the parameters of a change select."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_core.plugins import selection
from entrepot_core.store.changes import Selection

if TYPE_CHECKING:
    from entrepot_core.dispatch.assignment import Assignment
    from entrepot_core.plugins.registry import Registry
    from entrepot_core.store.database import Cursor

__all__ = ["selected"]


def selected(cursor: Cursor, registry: Registry, assignment: Assignment) -> Selection:
    """The units named one by one, and those that the conditions fit."""
    parameters = assignment.parameters
    choice = selection.read(parameters.message)
    return Selection(
        content_ids=assignment.content_ids,
        conditions=selection.conditions(cursor, registry.catalog(), parameters.view, choice),
        is_all=choice.is_all,
    )
