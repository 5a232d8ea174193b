"""What a client makes its request depend on (RFC 9110, sections 13 and 14.2)."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from entrepot_gateway.content.ranges import parse_ranges

if TYPE_CHECKING:
    from collections.abc import Mapping

    from entrepot_gateway.content.files import File
    from entrepot_gateway.content.ranges import Range


def is_unchanged(file: File, headers: Mapping[bytes, bytes]) -> bool:
    """Say whether the client has the file already (RFC 9110, section 13.2.2)."""
    tags = headers.get(b"if-none-match")
    if tags is not None:
        return _is_named(file, tags, weakly=True)
    since = headers.get(b"if-modified-since")
    if since is None or not file.time:
        return False
    seconds = _seconds(since.decode("latin-1"))
    return seconds is not None and file.time <= seconds


def is_other(file: File, headers: Mapping[bytes, bytes]) -> bool:
    """Say whether the client wants another file than this (RFC 9110, section 13.2.2)."""
    tags = headers.get(b"if-match")
    if tags is not None:
        return not _is_named(file, tags, weakly=False)
    since = headers.get(b"if-unmodified-since")
    if since is None or not file.time:
        return False
    seconds = _seconds(since.decode("latin-1"))
    return seconds is not None and file.time > seconds


def wanted_ranges(file: File, headers: Mapping[bytes, bytes]) -> list[Range] | None:
    """The ranges to send; None for the whole file."""
    header = headers.get(b"range")
    if header is None:
        return None
    condition = headers.get(b"if-range")
    if condition is not None and not _is_same(file, condition.decode("latin-1").strip()):
        return None
    return parse_ranges(header.decode("latin-1"), file.size)


def _is_named(file: File, tags: bytes, *, weakly: bool) -> bool:
    own = {"*", f'"{file.sha256}"', f'W/"{file.sha256}"' if weakly else "*"}
    return bool(file.sha256) and any(
        tag.strip() in own for tag in tags.decode("latin-1").split(",")
    )


def _is_same(file: File, condition: str) -> bool:
    if condition.startswith(('"', "W/")):
        return bool(file.sha256) and condition == f'"{file.sha256}"'
    return bool(file.time) and _seconds(condition) == file.time


def _seconds(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
