"""Which paths may be served: the rule of the contract, as a check that says what is wrong."""

import re

__all__ = ["PathError", "check_path"]

MAX_PATH_BYTES = 1024

# C0, DEL and C1.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class PathError(ValueError):
    """The path is not relative, plain and short; the message says why."""


def check_path(path: str) -> None:
    """Return if the path may be served, and raise PathError if not."""
    if not path:
        raise PathError("the path is empty")
    try:
        encoded = path.encode("utf-8")
    except UnicodeEncodeError:
        raise PathError("the path is not text") from None
    if len(encoded) > MAX_PATH_BYTES:
        raise PathError(f"the path is longer than {MAX_PATH_BYTES} bytes")
    if _CONTROL.search(path):
        raise PathError("the path holds a control character")
    if path.startswith("/"):
        raise PathError("the path is absolute")
    for segment in path.split("/"):
        if not segment:
            raise PathError("the path has an empty segment")
        if segment in {".", ".."}:
            raise PathError(f'the path has the segment "{segment}"')
