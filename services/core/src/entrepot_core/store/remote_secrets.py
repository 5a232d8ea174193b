"""Secrets of remotes: encrypted in the row of their remote, each bound to it and to its field."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from entrepot_core.domain.errors import SecretUnreadableError
from entrepot_core.store import remotes
from entrepot_core.store.secret_key import SETTING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from entrepot_core.store.database import Cursor, Database
    from entrepot_core.store.remotes import RemoteRow
    from entrepot_core.store.secret_key import SecretKey

__all__ = ["exist", "renew", "reveal", "seal", "unreadable"]

_PAGE = 100


def seal(key: SecretKey, row: RemoteRow, secrets: Mapping[str, str]) -> dict[str, str]:
    """Secrets as the row of this remote keeps them, by field. Raises SecretUnreadableError."""
    try:
        return {
            field: key.seal(secret, _place(row.remote_id, field))
            for field, secret in secrets.items()
        }
    except SecretUnreadableError as error:
        hint = "`entrepot-core migrate` makes the file if there is none."
        raise _of(row, f"A secret of {row.full_name} cannot be encrypted", error, hint) from error


def reveal(key: SecretKey, row: RemoteRow) -> dict[str, str]:
    """All secrets of a remote, by field. Raises SecretUnreadableError that names the remote."""
    try:
        return {
            field: key.open(sealed, _place(row.remote_id, field))
            for field, sealed in row.secrets.items()
        }
    except SecretUnreadableError as error:
        hint = "Bring the key back, or set the secrets of the remote again."
        message = f"The secrets of {row.full_name} cannot be decrypted"
        raise _of(row, message, error, hint) from error


def exist(cursor: Cursor) -> bool:
    """Whether any remote has a secret."""
    cursor.execute("SELECT EXISTS (SELECT FROM remote WHERE secrets <> '{}')")
    return bool((cursor.fetchone() or (False,))[0])


def unreadable(cursor: Cursor, key: SecretKey, most: int = 20) -> list[tuple[str, str]]:
    """Names of remotes with a secret that no key opens, and why; of the first so many."""
    cursor.execute(
        "SELECT remote_id, plugin, name, secrets FROM remote WHERE secrets <> '{}'"
        " ORDER BY remote_id LIMIT %s",
        (most,),
    )
    found = []
    for remote_id, plugin, name, secrets in cursor.fetchall():
        try:
            for field, sealed in secrets.items():
                key.open(sealed, _place(remote_id, field))
        except SecretUnreadableError as error:
            found.append((f"remotes/{plugin}/{name}", error.message))
    return found


def renew(database: Database, key: SecretKey) -> int:
    """Encrypts every secret anew, with the first key of the file; says of how many remotes.

    Raises SecretUnreadableError at the first that cannot be decrypted; those before it are done.
    """
    last = done = 0
    while True:
        with database.transaction() as cursor:
            cursor.execute(
                "SELECT remote_id FROM remote WHERE remote_id > %s AND secrets <> '{}'"
                " ORDER BY remote_id LIMIT %s FOR UPDATE",
                (last, _PAGE),
            )
            found = [remote_id for (remote_id,) in cursor.fetchall()]
            if not found:
                return done
            for remote_id in found:
                row = remotes.find_by_id(cursor, remote_id)
                if row is not None:
                    sealed = seal(key, row, reveal(key, row))
                    # Not a change of the remote: what it says stays the same.
                    cursor.execute(
                        "UPDATE remote SET secrets = %s WHERE remote_id = %s",
                        (json.dumps(sealed), remote_id),
                    )
            last, done = found[-1], done + len(found)


def _place(remote_id: int, field: str) -> str:
    return f"remotes/{remote_id}/{field}"


def _of(
    row: RemoteRow, what: str, error: SecretUnreadableError, hint: str
) -> SecretUnreadableError:
    return SecretUnreadableError(
        f"{what}: {error.message} {hint}", metadata={"remote": row.full_name, "setting": SETTING}
    )
