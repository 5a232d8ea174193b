"""The path of a request, decoded exactly once, or refused. No file name is ever made of it."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
# A backslash may be in a name, but some clients take a bare one for a slash.
_OTHER_SLASH = re.compile(rb"%2[fF]|\\")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

# Longer than a base path and a relative path together may be.
MAX_BYTES = 8 * 1024

RESERVED = frozenset({"v2", "v3", "token", ".well-known"})


class BadPathError(ValueError):
    """The path is not one that anything could be served at."""


def decode_path(raw: bytes) -> tuple[str, bool]:
    """The path without slashes at its ends, and whether it had one at its end."""
    raw = raw.partition(b"?")[0]
    if not raw.startswith(b"/") or len(raw) > MAX_BYTES:
        raise BadPathError
    if _BAD_ESCAPE.search(raw) or _OTHER_SLASH.search(raw):
        raise BadPathError
    try:
        path = unquote_to_bytes(raw[1:]).decode("utf-8")
    except UnicodeDecodeError:
        raise BadPathError from None
    if _CONTROL.search(path):
        raise BadPathError
    if path == "":
        return "", True
    is_folder = path.endswith("/")
    path = path.removesuffix("/")
    if any(segment in ("", ".", "..") for segment in path.split("/")):
        raise BadPathError
    return path, is_folder
