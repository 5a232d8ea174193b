"""Transactions that are run again when the database asks for it: after a deadlock, say."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, TypeVar

import psycopg2

from entrepot_core.domain.errors import DatabaseUnavailableError
from entrepot_core.store.database import is_retriable

if TYPE_CHECKING:
    from collections.abc import Callable

    from entrepot_core.store.database import Cursor, Database

__all__ = ["run"]

T = TypeVar("T")

_ATTEMPTS = 5


def run(database: Database, work: Callable[[Cursor], T]) -> T:
    """What `work` returns, done in one transaction that took effect as a whole.

    Raises DatabaseUnavailableError if the database asks for it again and again.
    """
    for attempt in range(_ATTEMPTS):
        try:
            with database.transaction() as cursor:
                return work(cursor)
        except psycopg2.Error as error:
            if not is_retriable(error):
                raise
            if attempt == _ATTEMPTS - 1:
                message = f"The database gave up a transaction {_ATTEMPTS} times: {error}"
                raise DatabaseUnavailableError(message, retry_after_seconds=2) from error
            time.sleep(random.uniform(0.01, 0.05) * (attempt + 1))  # noqa: S311  not a secret
    raise AssertionError  # the loop returns or raises
