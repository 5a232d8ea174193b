"""Pages of lists: sizes, and tokens that say where to go on."""

from __future__ import annotations

import base64
import binascii
import uuid

from entrepot_core.domain.errors import FieldInvalidError, QueryInvalidError

__all__ = ["check_id", "page_size", "read_token", "token_error", "write_token"]

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
        # Strictly: what is no Base64 would be skipped, and nonsense be the first page.
        padded = token + "=" * (-len(token) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise token_error() from error


def check_id(position: str) -> None:
    """Raises QueryInvalidError if a position is not an id, spelled as tokens have it."""
    try:
        is_id = str(uuid.UUID(position)) == position
    except ValueError:
        is_id = False
    if not is_id:
        raise token_error()


def token_error() -> QueryInvalidError:
    """The error of a token that no page of the list gave."""
    words = "page_token: is not one that a page of this list gave."
    return QueryInvalidError.at("page_token", words, 0)
