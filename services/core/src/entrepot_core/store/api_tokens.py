"""Tokens of the API and whom they stand for. The administrator's is a setting, and not here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_core.domain.errors import (
    NameTakenError,
    PermissionDeniedError,
    ResourceNotFoundError,
)

if TYPE_CHECKING:
    from datetime import datetime

    from entrepot_core.store.database import Cursor

__all__ = [
    "ADMIN",
    "ApiTokenRow",
    "create",
    "find_principal",
    "get",
    "page",
    "require_principal",
    "revoke",
]

# Who calls with the token of the settings; that one is never revoked, only replaced.
ADMIN = "admin"

_COLUMNS = "name, created_at, revoked_at"


@dataclass(frozen=True, slots=True)
class ApiTokenRow:
    """A token, without what is secret."""

    principal: str
    created_at: datetime
    revoked_at: datetime | None

    @property
    def name(self) -> str:
        """Resource name: "tokens/ci"."""
        return f"tokens/{self.principal}"


def create(cursor: Cursor, principal: str, digest: bytes) -> ApiTokenRow:
    """Keeps a token. NameTakenError if there is, or was, one with this name."""
    if principal != ADMIN:
        cursor.execute(
            "INSERT INTO api_token (name, digest) VALUES (%s, %s)"
            f" ON CONFLICT (name) DO NOTHING RETURNING {_COLUMNS}",
            (principal, digest),
        )
        if row := cursor.fetchone():
            return ApiTokenRow(*row)
    raise NameTakenError(
        f"There is, or was, a token {principal}: tasks and versions say so. Choose another name.",
        metadata={"resource": f"tokens/{principal}"},
    )


def get(cursor: Cursor, principal: str) -> ApiTokenRow:
    """A token, revoked or not. ResourceNotFoundError if there is none."""
    cursor.execute(f"SELECT {_COLUMNS} FROM api_token WHERE name = %s", (principal,))
    row = cursor.fetchone()
    if row is None:
        raise ResourceNotFoundError.of_name(f"tokens/{principal}")
    return ApiTokenRow(*row)


def page(cursor: Cursor, size: int, after: str = "") -> list[ApiTokenRow]:
    """Tokens by name."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM api_token WHERE name > %s ORDER BY name LIMIT %s", (after, size)
    )
    return [ApiTokenRow(*row) for row in cursor.fetchall()]


def revoke(cursor: Cursor, principal: str) -> None:
    """Takes a token its rights; once more is no error. ResourceNotFoundError if there is none.

    Waits for commits that are on their way with these rights.
    """
    cursor.execute(
        "UPDATE api_token SET revoked_at = coalesce(revoked_at, now()) WHERE name = %s",
        (principal,),
    )
    if cursor.rowcount == 0:
        raise ResourceNotFoundError.of_name(f"tokens/{principal}")


def find_principal(cursor: Cursor, digest: bytes) -> str | None:
    """Whom a token stands for, by its SHA-256; None if nobody, or nobody any more."""
    cursor.execute(
        "SELECT name FROM api_token WHERE digest = %s AND revoked_at IS NULL", (digest,)
    )
    row = cursor.fetchone()
    return None if row is None else str(row[0])


def require_principal(cursor: Cursor, principal: str) -> None:
    """PermissionDeniedError if who created a task has no rights any more.

    Nobody can take them until the end of the transaction.
    """
    if principal == ADMIN:
        return
    cursor.execute(
        "SELECT FROM api_token WHERE name = %s AND revoked_at IS NULL FOR SHARE", (principal,)
    )
    if cursor.fetchone() is None:
        raise PermissionDeniedError(
            f"The token {principal}, with which the task was created, was revoked."
        )
