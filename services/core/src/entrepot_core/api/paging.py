"""Pages of lists: sizes, and tokens that say where to go on."""

from __future__ import annotations

import base64
import binascii

from entrepot_core.domain.errors import FieldInvalidError, QueryInvalidError

__all__ = ["page_size", "read_token", "write_token"]

_DEFAULT = 100
_MOST = 1_000


def page_size(asked: int) -> int:
    """How many to return."""
    if not 0 <= asked <= _MOST:
        raise FieldInvalidError.at(
            "page_size", f"must be from 1 to {_MOST:,}; zero means {_DEFAULT}."
        )
    return asked or _DEFAULT


def write_token(position: str) -> str:
    """A token for the page after a position."""
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def read_token(token: str) -> str:
    """The position in a token; empty for the first page. Raises QueryInvalidError."""
    try:
        return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise QueryInvalidError(
            "page_token: is not one that a page of this list gave.", metadata={"position": "0"}
        ) from error
