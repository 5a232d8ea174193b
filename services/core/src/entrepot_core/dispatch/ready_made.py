"""Core's ready-made work: what CORE_ADD, CORE_REMOVE and CORE_COPY stage, and core's own tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_core.domain.errors import TaskTypeUnknownError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from entrepot_core.dispatch.assignment import Assignment, Executor
    from entrepot_core.dispatch.verdict import Completion

__all__ = ["ReadyMade"]


class ReadyMade:
    """Finds who does a task that core does itself."""

    def __init__(
        self, by_implementation: Mapping[int, Executor], by_task_type: Mapping[str, Executor]
    ) -> None:
        self._by_implementation = by_implementation
        self._by_task_type = by_task_type

    @property
    def task_types(self) -> frozenset[str]:
        """Core's own tasks that somebody does, by the name of their type."""
        return frozenset(self._by_task_type)

    def run(self, assignment: Assignment) -> Completion:
        """Does the work, up to what is to be committed."""
        view = assignment.parameters.view
        executor = self._by_task_type.get(view.name) or self._by_implementation.get(
            view.declared.implementation
        )
        if executor is None:
            raise TaskTypeUnknownError(
                f"This version of core does not do {view.name}.",
                metadata={"task_type": view.name, "plugins": view.plugin},
            )
        return executor(assignment)
