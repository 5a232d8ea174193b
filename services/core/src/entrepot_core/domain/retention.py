"""For how long what is over is kept."""

from __future__ import annotations

from dataclasses import dataclass

from entrepot_core.domain.task import State

__all__ = ["Retention"]


@dataclass(frozen=True, slots=True)
class Retention:
    """For how many days what is kept after it is over; None: for ever."""

    completed_days: float | None = 30.0
    failed_days: float | None = 30.0
    canceled_days: float | None = 30.0
    events_days: float | None = 30.0

    def of_tasks(self) -> dict[State, float | None]:
        """The days of each state in which a task is over."""
        return {
            State.COMPLETED: self.completed_days,
            State.FAILED: self.failed_days,
            State.CANCELED: self.canceled_days,
        }
