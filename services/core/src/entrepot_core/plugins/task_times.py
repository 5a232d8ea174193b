"""Metrics of how long tasks wait and run. Imported only where metrics are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Histogram

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["TaskTimes"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400)


class TaskTimes:
    """Counts times by type, as plugins declare them; every process that ends tasks has it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._waited = Histogram(
            "entrepot_task_wait_seconds",
            "How long tasks waited from their creation to their first attempt.",
            ("type",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._ran = Histogram(
            "entrepot_attempt_seconds",
            "How long attempts ran, by what became of them.",
            ("type", "outcome"),
            buckets=_SECONDS,
            registry=registry,
        )

    def waited(self, task_type: str, seconds: float) -> None:
        """From the creation of a task to its first attempt."""
        self._waited.labels(task_type).observe(max(0.0, seconds))

    def ran(self, task_type: str, outcome: str, seconds: float) -> None:
        """An attempt, by what became of it."""
        self._ran.labels(task_type, outcome).observe(seconds)
