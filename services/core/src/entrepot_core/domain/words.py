"""Instants and lengths of time as sentences have them. Pure."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

__all__ = ["instant", "length"]

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def instant(moment: datetime) -> str:
    """A point in time: "2026-03-01 14:03:05 UTC"."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def length(spent: timedelta) -> str:
    """A length of time, in its two largest units: "2 h 5 min"; none is below a second."""
    left = max(0, int(spent.total_seconds()))
    parts = []
    for seconds, unit in _UNITS:
        count, left = divmod(left, seconds)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "less than 1 s"
