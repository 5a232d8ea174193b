"""The Range header field (RFC 9110, section 14.2): which bytes, few of them, or none of it."""

from __future__ import annotations

import re

MAX_RANGES = 100
MAX_HEADER_BYTES = 4096

# Twenty digits: some clients say 2^64 - 1 for "to the end".
_SPEC = re.compile(r"([0-9]{0,20})-([0-9]{0,20})")

Range = tuple[int, int]


class NotSatisfiableError(ValueError):
    """No byte of the file is in the ranges."""


def parse_ranges(header: str, size: int) -> list[Range] | None:
    """First and last byte of each range, in the order asked; those that touch are one.

    None: the field is to be ignored, because it is malformed, of another unit, or asks for more
    pieces than anybody needs.

    Raises:
        NotSatisfiableError: it asks for nothing that a file of this size has.

    """
    unit, equals, specs = header.partition("=")
    if not equals or unit.strip().lower() != "bytes" or len(header) > MAX_HEADER_BYTES:
        return None
    if specs.count(",") >= MAX_RANGES:
        return None
    found: list[Range] = []
    is_empty = True
    for spec in specs.split(","):
        text = spec.strip(" \t")
        if not text:
            # An element of a list may be empty (section 5.6.1.2).
            continue
        is_empty = False
        match = _SPEC.fullmatch(text)
        if match is None or text == "-":
            return None
        first, last = match.groups()
        if first and last and int(last) < int(first):
            return None
        bounds = _bounds(first, last, size)
        if bounds is not None:
            found.append(bounds)
    if is_empty:
        return None
    if not found:
        raise NotSatisfiableError
    return _join(found)


def _bounds(first: str, last: str, size: int) -> Range | None:
    if not first:
        count = min(int(last), size)
        return (size - count, size - 1) if count else None
    start = int(first)
    if start >= size:
        return None
    return start, min(int(last), size - 1) if last else size - 1


def _join(ranges: list[Range]) -> list[Range]:
    """Join what touches; a joined range stands where the first of its parts was asked for."""
    joined: list[tuple[int, Range]] = []
    for place, (first, last) in sorted(enumerate(ranges), key=lambda item: item[1]):
        if joined and first <= joined[-1][1][1] + 1:
            earlier, (start, end) = joined[-1]
            joined[-1] = (min(earlier, place), (start, max(end, last)))
        else:
            joined.append((place, (first, last)))
    return [piece for _, piece in sorted(joined)]
