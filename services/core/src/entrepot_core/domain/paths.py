"""The one rule for paths: of a unit's file, of a publication's file, of a distribution.

A path is relative and "/"-separated, without empty, "." or ".." segment, so that no spelling of it
leads out of its folder. Control characters and lone surrogates are refused; every other character
is allowed and nothing is normalised: two paths are equal if their bytes are, also where a person
sees no difference. A backslash is a character like any other.
"""

from __future__ import annotations

import re

from entrepot_core.domain.errors import FieldInvalidError, PathInvalidError
from entrepot_core.domain.selector import has_selector

__all__ = ["MAX_BASE_PATH_BYTES", "MAX_PATH_BYTES", "check_base_path", "check_path", "fault_of"]

MAX_PATH_BYTES = 1024
MAX_BASE_PATH_BYTES = 255

# C0, DEL and C1, and surrogates, which UTF-8 cannot carry.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# What the content origin has at its root besides distributions.
_RESERVED = ("v2", "v3", "token", ".well-known")
_BASE_PATH = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/-]+")


def check_path(path: str) -> str:
    """The path itself. Raises PathInvalidError, which names it and says what is wrong."""
    fault = fault_of(path)
    if fault:
        shown = _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", path[:MAX_PATH_BYTES])
        raise PathInvalidError(
            f'"{shown}" is not a usable path: {fault}', metadata={"path": shown}
        )
    return path


def check_base_path(path: str, field: str = "base_path") -> str:
    """The base path without a slash at its ends. Raises FieldInvalidError."""
    stripped = path.removesuffix("/")
    fault = fault_of(stripped)
    # Before the limit of all paths, which would be named instead.
    if len(stripped) > MAX_BASE_PATH_BYTES:
        fault = f"it is longer than {MAX_BASE_PATH_BYTES} bytes."
    if not fault and not _BASE_PATH.fullmatch(stripped):
        fault = (
            "it may have letters and digits of ASCII, "
            '"/" and any of . _ ~ ! $ & \' ( ) * + , ; = : @ -'
        )
    if not fault and stripped.split("/", 1)[0].lower() in _RESERVED:
        fault = f"the first segments {', '.join(_RESERVED)} are reserved."
    if not fault and has_selector(stripped):
        fault = 'a segment may not end in "@", or in "@" and what begins with a digit: that is how'
        fault += " versions are asked for."
    if fault:
        shown = _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", path[:MAX_BASE_PATH_BYTES])
        raise FieldInvalidError.at(field, f'"{shown}" is not a usable base path: {fault}')
    return stripped


def fault_of(path: str) -> str:
    """What is wrong with a path, as the end of a sentence; empty if nothing is."""
    if not path:
        return "it is empty."
    if _FORBIDDEN.search(path):
        return "it has a control character or is not valid Unicode."
    if path.startswith("/"):
        return 'it is absolute; leave out the "/" at its start.'
    segments = path.split("/")
    if "" in segments:
        return "it has an empty segment."
    if "." in segments or ".." in segments:
        return 'it has a "." or ".." segment.'
    if len(path.encode()) > MAX_PATH_BYTES:
        return f"it is longer than {MAX_PATH_BYTES} bytes."
    return ""
