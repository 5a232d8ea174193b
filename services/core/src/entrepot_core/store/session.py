"""A connection that is held for its session: for locks that end with it."""

from __future__ import annotations

import contextlib
import select
from typing import TYPE_CHECKING, TypeVar

import psycopg2

from entrepot_core.domain.errors import DatabaseUnavailableError
from entrepot_core.store.database import connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from entrepot_core.store.database import Cursor

__all__ = ["HeldSession"]

T = TypeVar("T")


class HeldSession:
    """One connection in autocommit. DatabaseUnavailableError when it breaks."""

    def __init__(self, url: str, name: str) -> None:
        self._connection = connect(url, name=name)

    def run(self, work: Callable[[Cursor], T]) -> T:
        """What `work` returns."""
        try:
            with self._connection.cursor() as cursor:
                return work(cursor)
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            raise DatabaseUnavailableError(
                f"The session broke: {str(error).strip() or 'closed'}", retry_after_seconds=2
            ) from error

    def has_ended(self, seconds: float) -> bool:
        """Whether the server has ended the session; waits for that, at most so long."""
        poll = select.poll()
        try:
            poll.register(self._connection, select.POLLIN)
        except psycopg2.Error:
            return True
        # The server says nothing to an idle session, but that it ends it.
        return bool(poll.poll(1000 * seconds))

    def close(self) -> None:
        """Ends the session and what it holds."""
        with contextlib.suppress(psycopg2.Error):
            self._connection.close()
