"""Lengths of time as people write them: "30s", "500ms", "10m", "24h", "7d", or seconds alone."""

from __future__ import annotations

import re
from decimal import Decimal

__all__ = ["parse_nanos"]

_FORM = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,9})?)(ns|us|ms|s|m|h|d)?")
_NANOS = {
    None: 10**9,
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
}


def parse_nanos(text: str) -> int:
    """The length in nanoseconds.

    Raises:
        ValueError: it is not one.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a length of time: write 30s, 500ms, 10m, 24h or 7d")
    return int(Decimal(match.group(1)) * _NANOS[match.group(2)])
