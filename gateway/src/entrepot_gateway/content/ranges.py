"""The Range header field (RFC 9110, section 14): which bytes, few and in order, or none of it."""

from __future__ import annotations

import re

MAX_RANGES = 100
MAX_HEADER_BYTES = 4096

_SPEC = re.compile(r"([0-9]{0,18})-([0-9]{0,18})")

Range = tuple[int, int]


class NotSatisfiableError(ValueError):
    """No byte of the file is in the ranges."""


def parse_ranges(header: str, size: int) -> list[Range] | None:
    """First and last byte of each range; overlapping and adjacent ones are one.

    None: the field is to be ignored, because it is malformed, of another unit, or asks for more
    pieces than anybody needs.
    """
    unit, equals, specs = header.partition("=")
    if not equals or unit.strip().lower() != "bytes" or len(header) > MAX_HEADER_BYTES:
        return None
    if specs.count(",") >= MAX_RANGES:
        return None
    found: list[Range] = []
    for spec in specs.split(","):
        match = _SPEC.fullmatch(spec.strip())
        if match is None or match.group() == "-":
            return None
        first, last = match.groups()
        if first and last and int(last) < int(first):
            return None
        bounds = _bounds(first, last, size)
        if bounds is not None:
            found.append(bounds)
    if not found:
        raise NotSatisfiableError
    return _merge(found)


def _bounds(first: str, last: str, size: int) -> Range | None:
    if not first:
        count = min(int(last), size)
        return (size - count, size - 1) if count else None
    start = int(first)
    if start >= size:
        return None
    return start, min(int(last), size - 1) if last else size - 1


def _merge(ranges: list[Range]) -> list[Range]:
    ranges.sort()
    merged = [ranges[0]]
    for first, last in ranges[1:]:
        if first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged
