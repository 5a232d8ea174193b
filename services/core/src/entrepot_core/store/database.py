"""Connections to PostgreSQL, transactions on them, and what their errors mean."""

from __future__ import annotations

import secrets
import select
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg2
import psycopg2.extensions
import structlog
from psycopg2 import errorcodes

from entrepot_core.domain.errors import (
    DatabaseUnavailableError,
    FieldInvalidError,
    StorageFailedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "MINIMUM_VERSION",
    "PROCESS",
    "Connection",
    "Cursor",
    "Database",
    "PooledSessionsError",
    "connect",
    "unavailable",
    "wait_until_ready",
]

log = structlog.get_logger()

Connection = psycopg2.extensions.connection
Cursor = psycopg2.extensions.cursor

MINIMUM_VERSION = 150000

# The names of this process's sessions end with it, so that they can be told from all others.
PROCESS = secrets.token_hex(6)

# A dead peer must be noticed in seconds on both sides, whatever the server is configured to.
# Behind a proxy no peer ever looks dead: there the silence in a transaction bounds its locks.
_OPTIONS = (
    "-c tcp_keepalives_idle=2 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=3 "
    "-c tcp_user_timeout=5000 -c client_connection_check_interval=5000 "
    "-c idle_in_transaction_session_timeout=15000 -c timezone=UTC "
    "-c default_transaction_isolation=read\\ committed -c jit=off "
    # Of statements in functions: to plan the claim anew each time costs more than the claim.
    "-c plan_cache_mode=force_generic_plan"
)
_LIBPQ: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
    "application_name": "entrepot",
}
# What PgBouncer says to options that it could only keep for a session.
_PROXY = "unsupported startup parameter"
_RETRIED = (errorcodes.DEADLOCK_DETECTED, errorcodes.SERIALIZATION_FAILURE)


class PooledSessionsError(RuntimeError):
    """What answers is a proxy that does not give each connection a session of its own."""

    def __init__(self, how: str) -> None:
        super().__init__(
            f"The database URL leads to a proxy that pools transactions: {how} Entrepot needs a "
            "session of its own for each connection, for locks and notifications: let "
            "ENTREPOT_DATABASE_URL name PostgreSQL itself, or a pool in session mode that passes "
            "`options` on."
        )


def connect(url: str, *, name: str = "entrepot") -> Connection:
    """A connection outside the pool, in autocommit; for listening and for session locks."""
    connection = _open(url, name)
    connection.autocommit = True
    return connection


class _StrictCursor(Cursor):
    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002, ANN401  as in psycopg2
        try:
            super().execute(query, vars)
        except ValueError as error:
            # Any other is a mistake in the statement.
            if "NUL" not in str(error):
                raise
            raise FieldInvalidError("A name or value has a NUL character in it.") from error


class Database:
    """A pool of at most `size` connections; who finds none waits, at most `timeout` seconds."""

    def __init__(
        self, url: str, *, size: int = 20, timeout: float = 30, name: str = "entrepot"
    ) -> None:
        self.url = url
        self._name = name
        self._timeout = timeout
        self._size = size
        self._idle: list[Connection] = []
        self._free = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()
        self._prepare: list[Callable[[Cursor], None]] = []
        # By the thread that has it; a connection that was interrupted is used no more.
        self._lent: dict[int, Connection] = {}
        self._interrupted: set[Connection] = set()

    def on_connect(self, prepare: Callable[[Cursor], None]) -> None:
        """Runs `prepare` on every new connection: temporary tables that live as long as it."""
        self._prepare.append(prepare)

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """A cursor in one READ COMMITTED transaction, rolled back if the block raises.

        Raises DatabaseUnavailableError if the connection cannot be had or breaks; whether a COMMIT
        under way took effect is then not known, and the caller must read before it repeats.
        FieldInvalidError if a text has a NUL character, which PostgreSQL cannot hold.
        """
        with (
            self._borrowed() as connection,
            connection.cursor(cursor_factory=_StrictCursor) as cursor,
        ):
            try:
                yield cursor
            except BaseException:
                if not connection.closed:
                    connection.rollback()
                raise
            connection.commit()

    @contextmanager
    def statements(self) -> Iterator[Cursor]:
        """A cursor whose every statement is a transaction of its own: one round trip, not three.

        For reads it is no different from `transaction`, where each statement sees the moment that
        it begins too. Raises as that does.
        """
        with self._borrowed() as connection:
            connection.autocommit = True
            try:
                with connection.cursor(cursor_factory=_StrictCursor) as cursor:
                    yield cursor
            finally:
                if not connection.closed:
                    connection.autocommit = False

    def fetch(self, query: str, parameters: Any = None) -> list[tuple[Any, ...]]:  # noqa: ANN401  what psycopg2 takes
        """All rows of one statement, in a transaction of its own."""
        with self.statements() as cursor:
            cursor.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []

    def connections(self) -> tuple[int, int]:
        """How many connections are in use, and how many more there may be."""
        with self._lock:
            free = self._free._value  # noqa: SLF001  there is no other way to ask
        return self._size - free, free

    def interrupt(self, thread: int) -> None:
        """Ends the statement that a thread waits for, which raises there; else does nothing.

        What it was about is rolled back, unless it is just being committed.
        """
        with self._lock:
            connection = self._lent.get(thread)
            if connection is not None and not connection.closed:
                # Kept from others: they might meet the end that was meant for this one.
                self._interrupted.add(connection)
                connection.cancel()

    def close(self) -> None:
        """Closes the idle connections; those in use close when they are given back."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def _borrowed(self) -> Iterator[Connection]:
        if not self._free.acquire(timeout=self._timeout):
            message = f"No database connection became free within {self._timeout:g} s."
            raise DatabaseUnavailableError(message, retry_after_seconds=5)
        try:
            connection = self._take()
            thread = threading.get_ident()
            outer, self._lent[thread] = self._lent.get(thread), connection
            try:
                with self._translated(connection):
                    yield connection
            finally:
                with self._lock:
                    if outer is None:
                        del self._lent[thread]
                    else:
                        self._lent[thread] = outer
                self._give_back(connection)
        finally:
            self._free.release()

    @contextmanager
    def _translated(self, connection: Connection) -> Iterator[None]:
        """Says in our own errors that the connection is lost, or that the server is full."""
        try:
            yield
        except psycopg2.Error as error:
            if _is_lost(connection, error):
                self._discard(connection)
                # The server is gone or going: the idle connections are as dead as this one.
                self.close()
                raise unavailable(error) from error
            if error.pgcode is not None and error.pgcode.startswith("53"):
                message = f"The database is out of resources: {error.diag.message_primary}"
                raise StorageFailedError(message, retry_after_seconds=30) from error
            raise

    def _take(self) -> Connection:
        with self._lock:
            while self._idle:
                connection = self._idle.pop()
                if not connection.closed and not _has_news(connection):
                    return connection
                self._discard(connection)
        connection = _open(self.url, self._name)
        with self._translated(connection), connection, connection.cursor() as cursor:
            for prepare in self._prepare:
                prepare(cursor)
        return connection

    def _give_back(self, connection: Connection) -> None:
        if connection.closed:
            return
        if connection in self._interrupted:
            self._interrupted.discard(connection)
            self._discard(connection)
            return
        if connection.get_transaction_status() != psycopg2.extensions.TRANSACTION_STATUS_IDLE:
            self._discard(connection)
            return
        with self._lock:
            self._idle.append(connection)

    @staticmethod
    def _discard(connection: Connection) -> None:
        try:
            connection.close()
        except psycopg2.Error as error:
            log.debug("database.close_failed", error=str(error))


def wait_until_ready(url: str, seconds: float) -> None:
    """Returns when the database takes connections; DatabaseUnavailableError after the time.

    PooledSessionsError at once if a proxy answers that cannot work.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            connect(url).close()
        except DatabaseUnavailableError as error:
            if _PROXY in error.message:
                raise PooledSessionsError("it refuses the settings of a session.") from None
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def is_retriable(error: psycopg2.Error) -> bool:
    """Whether the same transaction may be run again: a deadlock or a serialization failure."""
    return error.pgcode in _RETRIED


def _is_lost(connection: Connection, error: psycopg2.Error) -> bool:
    # 08: connection exceptions; 57P: the server shuts down, crashed, or ended this connection.
    return bool(connection.closed) or (
        isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
        and (error.pgcode is None or error.pgcode.startswith(("08", "57P")))
    )


def _has_news(connection: Connection) -> bool:
    # The server says nothing to an idle connection, but that it ends it.
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


def _open(url: str, name: str) -> Connection:
    try:
        connection: Connection = psycopg2.connect(
            url, options=_OPTIONS, **{**_LIBPQ, "application_name": f"{name} {PROCESS}"}
        )
    except psycopg2.OperationalError as error:
        raise unavailable(error) from error
    return connection


def unavailable(error: Exception) -> DatabaseUnavailableError:
    """The error that says so, for one of libpq's about a connection."""
    # libpq's text may name host and user, which helps; it never has the password.
    detail = str(error).strip().splitlines()
    return DatabaseUnavailableError(
        f"The database cannot be reached: {detail[0] if detail else 'the connection broke'}",
        retry_after_seconds=2,
    )
