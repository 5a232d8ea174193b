"""How long a task waited, and for what, from the instants at which its state changed. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

__all__ = ["Cause", "History", "Try", "account"]


class Cause(enum.Enum):
    """What a task waited for."""

    LOCKS = enum.auto()
    PLUGIN_DOWN = enum.auto()
    PLACE = enum.auto()
    """Its turn: the plugin was full, a limit was reached, or every dispatcher was busy."""
    BACK_OFF = enum.auto()


@dataclass(frozen=True, slots=True)
class Try:
    """An attempt that started; `resumes_at` is when the next may, if this one was lost."""

    started_at: datetime
    ended_at: datetime | None = None
    resumes_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class History:
    """A task up to `until`, which is now or its end. Its attempts are in order."""

    created_at: datetime
    first_ready_at: datetime | None
    tries: Sequence[Try]
    until: datetime


def account(
    history: History, outages: Iterable[tuple[datetime, datetime | None]]
) -> dict[Cause, timedelta]:
    """How long a task waited for what, without what cost it nothing."""
    ready = history.first_ready_at or history.until
    spent = dict.fromkeys(Cause, timedelta())
    spent[Cause.LOCKS] = ready - history.created_at
    downs = [(began, ended or history.until) for began, ended in outages]
    for one in history.tries:
        _add_turn(spent, ready, one.started_at, downs)
        if one.ended_at is None:
            break
        # A later attempt may start when the back-off is over, and not before this one was lost.
        ready = min(max(one.ended_at, one.resumes_at or one.ended_at), history.until)
        spent[Cause.BACK_OFF] += ready - one.ended_at
    else:
        _add_turn(spent, ready, history.until, downs)
    return {cause: length for cause, length in spent.items() if length > timedelta()}


def _add_turn(
    spent: dict[Cause, timedelta],
    ready: datetime,
    started: datetime,
    downs: Iterable[tuple[datetime, datetime]],
) -> None:
    down = sum(
        (max(timedelta(), min(ended, started) - max(began, ready)) for began, ended in downs),
        start=timedelta(),
    )
    spent[Cause.PLUGIN_DOWN] += down
    spent[Cause.PLACE] += max(timedelta(), started - ready - down)
