"""The key with which secrets are encrypted at rest: a file of this installation, not the database.

Each line of the file is a Fernet key: 32 bytes in URL-safe base64. The first one encrypts, all of
them decrypt, so that a key can be replaced while everything runs.
"""

from __future__ import annotations

import hmac
import os
import stat
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING

import structlog

from entrepot_core.domain.errors import SecretUnreadableError
from entrepot_rpc.durable import create_private

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.fernet import MultiFernet

__all__ = ["SETTING", "SecretKey"]

log = structlog.get_logger()

SETTING = "ENTREPOT_SECRET_KEY_FILE"
_KEY_BYTES = 32


class SecretKey:
    """Encrypts and decrypts. The file is read when it is first needed, and after each change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = threading.Lock()
        self._read_at: tuple[int, ...] = ()
        self._keys: MultiFernet

    def create(self) -> bool:
        """Makes the file with a new key; says whether it did, as one that is there stays."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return create_private(self._path, urlsafe_b64encode(os.urandom(_KEY_BYTES)) + b"\n")

    def seal(self, secret: str, place: str) -> str:
        """The secret as it is stored; it can be read back for the same place only.

        Raises SecretUnreadableError if there is no usable key.
        """
        return self._fernet().encrypt(_bound(secret, place)).decode()

    def open(self, sealed: str, place: str) -> str:
        """The secret. Raises SecretUnreadableError if no key of the file fits, or not the place.

        The error says what is wrong with the key; whose secret it is, the caller knows.
        """
        from cryptography.fernet import InvalidToken  # noqa: PLC0415  only where there are secrets

        try:
            found = self._fernet().decrypt(sealed)
        except InvalidToken:
            raise SecretUnreadableError(
                f"no key in {self._path} ({SETTING}) is the one it was encrypted with."
            ) from None
        prefix = _bound("", place)
        if not found.startswith(prefix):
            raise SecretUnreadableError("it was encrypted for something else.")
        return found[len(prefix) :].decode()

    def derive(self, purpose: str) -> bytes:
        """32 bytes that follow from the first key and the purpose, and tell nothing of the key.

        Raises SecretUnreadableError if there is no usable key.
        """
        self._fernet()
        try:
            key = next(line for line in self._path.read_bytes().splitlines() if line)
        except OSError as error:
            raise self._unreadable(error) from None
        return hmac.digest(urlsafe_b64decode(key.strip()), purpose.encode(), "sha256")

    def _fernet(self) -> MultiFernet:
        with self._guard:
            state = self._state()
            if state != self._read_at:
                self._keys = self._read()
                self._read_at = state
            return self._keys

    def _state(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError as error:
            raise self._unreadable(error) from None
        return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode

    def _unreadable(self, error: OSError) -> SecretUnreadableError:
        return SecretUnreadableError(
            f"the key file {self._path} ({SETTING}) cannot be read: {error.strerror}."
        )

    def _read(self) -> MultiFernet:
        from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415  as above

        try:
            if stat.S_IMODE(self._path.stat().st_mode) & 0o077:
                log.warning("secret_key.readable_by_others", path=str(self._path))
            keys = [Fernet(line.strip()) for line in self._path.read_bytes().splitlines() if line]
            return MultiFernet(keys)
        except OSError as error:
            raise self._unreadable(error) from None
        except ValueError:
            raise SecretUnreadableError(
                f"the key file {self._path} ({SETTING}) must have 32 bytes in URL-safe base64"
                " on each line, and at least one line."
            ) from None


def _bound(secret: str, place: str) -> bytes:
    return f"{place}\n{secret}".encode()
