"""Repositories that parameters name only to choose what is looked at, without locking them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_core.store import repositories

if TYPE_CHECKING:
    from collections.abc import Iterable

    from entrepot_core.store.database import Database

__all__ = ["repository_ids"]


def repository_ids(database: Database, names: Iterable[str]) -> list[int]:
    """Their numbers, of "repositories/file/foo" or "file/foo"; ResourceNotFoundError."""
    full = [f"repositories/{name.removeprefix('repositories/')}" for name in names]
    with database.transaction() as cursor:
        return [repositories.get(cursor, name).repository_id for name in full]
