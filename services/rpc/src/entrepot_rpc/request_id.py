"""What a `request_id` may look like, however it is given: in a call, a query, or a header field.

Not to be confused with `x-request-id`, which tells the lines of one request from others.
"""

from __future__ import annotations

__all__ = ["RULE", "is_allowed"]

_MOST = 128
RULE = f"has 1 to {_MOST} printable characters, and no space at either end"


def is_allowed(text: str) -> bool:
    """Say whether it may be one: what a header field can carry, and what looks like itself."""
    return 0 < len(text) <= _MOST and text.isprintable() and text == text.strip()
