"""What a client makes its request depend on (RFC 9110, sections 13 and 14.2)."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from entrepot_gateway.content.ranges import parse_ranges

if TYPE_CHECKING:
    from collections.abc import Mapping

    from entrepot_gateway.content.files import File
    from entrepot_gateway.content.ranges import Range

# Longer than any form of HTTP date; what is longer costs no time.
_LONGEST_DATE = 40
_ENTITY_TAG = re.compile(rb'(?:W/)?"[^"\x00-\x20\x7f]*"')


def is_other(file: File, request: Mapping[bytes, bytes]) -> bool:
    """Say whether the client wants another file than this (412; RFC 9110, section 13.2.2)."""
    tags = request.get(b"if-match")
    if tags is not None:
        return not _is_named(file, tags, weakly=False)
    since = request.get(b"if-unmodified-since")
    if since is None or not file.time:
        return False
    seconds = _seconds(since)
    return seconds is not None and file.time > seconds


def is_unchanged(file: File, request: Mapping[bytes, bytes]) -> bool:
    """Say whether the client has the file already (304; RFC 9110, section 13.2.2).

    A date counts only if it is the file's own. After a return to an earlier version the file is
    older than what the client has, and yet another one.
    """
    tags = request.get(b"if-none-match")
    if tags is not None:
        return _is_named(file, tags, weakly=True)
    since = request.get(b"if-modified-since")
    return since is not None and bool(file.time) and _seconds(since) == file.time


def wanted_ranges(file: File, request: Mapping[bytes, bytes]) -> list[Range] | None:
    """The ranges to send; None for the whole file.

    Raises:
        NotSatisfiableError: no byte of the file is in them.

    """
    header = request.get(b"range")
    if header is None:
        return None
    condition = request.get(b"if-range")
    if condition is not None and not _is_same(file, condition.strip()):
        return None
    return parse_ranges(header.decode("latin-1"), file.size)


def _is_named(file: File, tags: bytes, *, weakly: bool) -> bool:
    if tags.strip() == b"*":
        return True
    own = _tag(file)
    return own is not None and any(
        tag == own or (weakly and tag == b"W/" + own) for tag in _ENTITY_TAG.findall(tags)
    )


def _is_same(file: File, condition: bytes) -> bool:
    if condition.startswith((b'"', b"W/")):
        return condition == _tag(file)
    return bool(file.time) and _seconds(condition) == file.time


def _tag(file: File) -> bytes | None:
    return f'"{file.sha256}"'.encode("ascii") if file.sha256 else None


def _seconds(date: bytes) -> float | None:
    """Seconds since 1970 of an HTTP date in any of its three forms; None if it is none."""
    if len(date) > _LONGEST_DATE:
        return None
    try:
        moment = parsedate_to_datetime(date.decode("latin-1"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
