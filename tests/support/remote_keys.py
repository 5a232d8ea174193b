"""Keys for the secrets of remotes, as tests need them."""

import tempfile
from pathlib import Path

from entrepot_core.downloads.remote import Remotes
from entrepot_core.store.database import Database
from entrepot_core.store.secret_key import SecretKey


def no_key() -> SecretKey:
    """A key that is not there, for remotes that have no secrets."""
    return SecretKey(Path(tempfile.gettempdir()) / "no-such-folder" / "secret-key")


def remotes_of(database: Database) -> Remotes:
    """The remotes of a database, none of which has a secret."""
    return Remotes(database, no_key())
