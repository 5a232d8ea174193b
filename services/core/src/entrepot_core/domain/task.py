"""What a task is, and what becomes of one whose attempt was lost. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_core.domain.errors import AttemptLostError, OutcomeUnknownError

if TYPE_CHECKING:
    from entrepot_core.domain.errors import ServiceError

__all__ = [
    "AGEING_SECONDS",
    "BACK_OFF_SECONDS",
    "MAX_COUNTED_ATTEMPTS",
    "Loss",
    "LossCause",
    "State",
    "Verdict",
    "judge",
]

MAX_COUNTED_ATTEMPTS = 3

# After this long a task that is ready competes one class higher.
AGEING_SECONDS = 600.0

# Before the first, second, … repetition of an attempt that was counted.
BACK_OFF_SECONDS = (1.0, 10.0, 60.0)


class State(enum.StrEnum):
    """Where a task stands; docs/state-machine.md draws it, CHECK constraints hold it."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_terminal(self) -> bool:
        return self in {State.COMPLETED, State.FAILED, State.CANCELED}


class LossCause(enum.StrEnum):
    """Why attempts are lost, for who counts them."""

    CONTRACT_BROKEN = "contract_broken"
    DATABASE = "database"
    DISPATCHER_DIED = "dispatcher_died"
    DISPATCHER_STOPPED = "dispatcher_stopped"
    PLUGIN_FULL = "plugin_full"
    PLUGIN_GONE = "plugin_gone"
    PLUGIN_SILENT = "plugin_silent"
    PLUGIN_UNREACHABLE = "plugin_unreachable"
    RETRYABLE_FAILURE = "retryable_failure"


@dataclass(frozen=True, slots=True)
class Loss:
    """The end of an attempt that did not end its task."""

    reason: str
    """A sentence for a person."""
    is_counted: bool
    error: ServiceError | None = None
    """What the task fails with when it is not repeated; None: that it was lost."""
    delay_seconds: float | None = None
    """Seconds until the next attempt; None: as BACK_OFF_SECONDS say."""
    never_ran: bool = False
    """The plugin cannot have done anything, so also what must not be repeated may start."""
    is_peer_gone: bool = False
    """The plugin does not answer: nothing more is to be claimed for it."""
    cause: LossCause = LossCause.RETRYABLE_FAILURE


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do: repeat after a delay, or fail with an error."""

    delay_seconds: float = 0
    error: ServiceError | None = None


def judge(loss: Loss, *, may_repeat: bool, counted_before: int) -> Verdict:
    """What becomes of a task after a loss, given how many of its earlier losses were counted.

    `may_repeat`: the task is repeatable, or its plugin has not been asked to begin.
    """
    if not may_repeat and not loss.never_ran:
        if loss.error is not None:
            return Verdict(error=loss.error)
        return Verdict(
            error=OutcomeUnknownError(
                f"{loss.reason} What the attempt did outside is not known, so it is not repeated."
            )
        )
    if not loss.is_counted:
        return Verdict(delay_seconds=loss.delay_seconds or 0)
    counted = counted_before + 1
    if counted >= MAX_COUNTED_ATTEMPTS:
        error = loss.error or AttemptLostError(
            f"{counted} attempts were lost. The last: {loss.reason}",
            metadata={"attempts": str(counted)},
        )
        return Verdict(error=error)
    if loss.delay_seconds is not None:
        return Verdict(delay_seconds=loss.delay_seconds)
    return Verdict(delay_seconds=BACK_OFF_SECONDS[counted - 1])
