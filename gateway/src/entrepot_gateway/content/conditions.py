"""What a client makes its request depend on (RFC 9110, sections 13 and 14.2)."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Protocol

from entrepot_gateway.content.ranges import parse_ranges

if TYPE_CHECKING:
    from collections.abc import Mapping

    from entrepot_gateway.content.files import File
    from entrepot_gateway.content.ranges import Range

# Longer than any form of HTTP date; what is longer costs no time.
_LONGEST_DATE = 40
_ENTITY_TAG = re.compile(rb'(?:W/)?"[^"\x00-\x20\x7f]*"')


class Representation(Protocol):
    """What an answer would send, as far as conditions ask for it."""

    @property
    def tag(self) -> bytes:
        """Its entity tag, quoted, with W/ if it is a weak one; empty if it has none."""

    @property
    def time(self) -> int:
        """When it was last changed, in seconds since 1970; zero: not known."""


def is_other(what: Representation, request: Mapping[bytes, bytes]) -> bool:
    """Say whether the client wants something else than this (412; RFC 9110, section 13.2.2)."""
    tags = request.get(b"if-match")
    if tags is not None:
        return not _is_named(what, tags, weakly=False)
    since = request.get(b"if-unmodified-since")
    if since is None or not what.time:
        return False
    seconds = _seconds(since)
    return seconds is not None and what.time > seconds


def is_unchanged(what: Representation, request: Mapping[bytes, bytes]) -> bool:
    """Say whether the client has this already (304; RFC 9110, section 13.2.2).

    A date counts only if it is the very same. After a return to an earlier version a file is older
    than what the client has, and yet another one.
    """
    tags = request.get(b"if-none-match")
    if tags is not None:
        return _is_named(what, tags, weakly=True)
    since = request.get(b"if-modified-since")
    return since is not None and bool(what.time) and _seconds(since) == what.time


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


def _is_named(what: Representation, tags: bytes, *, weakly: bool) -> bool:
    if tags.strip() == b"*":
        return True
    if weakly:
        own = what.tag.removeprefix(b"W/")
        return any(tag.removeprefix(b"W/") == own for tag in _ENTITY_TAG.findall(tags))
    return what.tag.startswith(b'"') and what.tag in _ENTITY_TAG.findall(tags)


def _is_same(what: Representation, condition: bytes) -> bool:
    if condition.startswith((b'"', b"W/")):
        return condition == what.tag and condition.startswith(b'"')
    return bool(what.time) and _seconds(condition) == what.time


def _seconds(date: bytes) -> float | None:
    """Seconds since 1970 of an HTTP date in any of its three forms; None if it is none."""
    if len(date) > _LONGEST_DATE:
        return None
    try:
        moment = parsedate_to_datetime(date.decode("latin-1"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
