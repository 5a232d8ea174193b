"""What may stand behind the "@" of a served path: the number of a version, or a moment.

A moment is a date, which means its beginning in UTC, or a date and time with its distance from
UTC (RFC 3339, section 5.6): "2026-11-01", "2026-11-01T00:00:00Z", "2026-11-01T02:00:00+02:00".
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

__all__ = ["MAX_CHARACTERS", "has_selector", "parse_selector"]

# The longest spelling of a moment: nine digits of a second.
MAX_CHARACTERS = 35

_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
_MOMENT = re.compile(f"{_DATE}(?:{_TIME})?")
# A base path that looked like this would hide versions of another.
_SELECTOR = re.compile(r"[^/]@(?:[0-9][^/@]*)?(?:/|\Z)")


def parse_selector(text: str) -> int | datetime | None:
    """The number or the moment, in UTC; None if it is neither."""
    if _NUMBER.fullmatch(text):
        return int(text)
    if not _MOMENT.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def has_selector(base_path: str) -> bool:
    """Whether a segment of a base path could be taken for another's version."""
    return bool(_SELECTOR.search(base_path))
