"""Core's ready-made work: what CORE_ADD, CORE_REMOVE and CORE_COPY stage, and core's own tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from entrepot_core.dispatch.verdict import Completion
from entrepot_core.domain.errors import TaskTypeUnknownError

if TYPE_CHECKING:
    from collections.abc import Callable

    from entrepot.type.v1 import progress_pb2
    from entrepot_core.plugins import binding
    from entrepot_core.plugins.parameters import Parameters
    from entrepot_core.store.queue import Claimed

__all__ = ["NOTHING_TO_SAY", "Executor", "ReadyMade"]

NOTHING_TO_SAY = Completion("", b"", {}, {}, "")


class Executor(Protocol):
    """Does one kind of core's own work: stages into the workspace, or acts and tells."""

    def __call__(
        self,
        claimed: Claimed,
        parameters: Parameters,
        bounds: list[binding.Bound],
        *,
        is_dry_run: bool,
        report: Callable[[progress_pb2.Progress], None],
    ) -> Completion:
        """What is to be committed."""


class ReadyMade:
    """Finds who does a task that core does itself."""

    def __init__(
        self, by_implementation: dict[int, Executor], by_task_type: dict[str, Executor]
    ) -> None:
        self._by_implementation = by_implementation
        self._by_task_type = by_task_type

    def run(
        self,
        claimed: Claimed,
        is_dry_run: bool,  # noqa: FBT001  as the task says
        parameters: Parameters,
        bounds: list[binding.Bound],
        report: Callable[[progress_pb2.Progress], None],
    ) -> Completion:
        """Does the work, up to what is to be committed."""
        view = parameters.view
        executor = self._by_task_type.get(view.name) or self._by_implementation.get(
            view.declared.implementation
        )
        if executor is None:
            raise TaskTypeUnknownError(
                f"This version of core does not do {view.name}.",
                metadata={"task_type": view.name, "plugins": view.plugin},
            )
        return executor(claimed, parameters, bounds, is_dry_run=is_dry_run, report=report)
