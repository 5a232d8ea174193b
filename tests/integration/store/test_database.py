"""Connections that the server ended are noticed before they are used."""

import pytest

from entrepot_core.domain.errors import DatabaseUnavailableError
from entrepot_core.store.database import Cursor, Database, connect


def end_connections(dsn: str, name: str) -> int:
    """End all connections of a name, as a restart of the server does, and count them."""
    connection = connect(dsn)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity"
                " WHERE application_name LIKE %s || ' %%'",
                (name,),
            )
            return int((cursor.fetchone() or (0,))[0])
    finally:
        connection.close()


def test_an_idle_connection_that_was_ended_is_replaced(core_dsn: str) -> None:
    """After a restart of the server the first statement works, though the old connection died."""
    database = Database(core_dsn, name="to be ended")
    database.fetch("SELECT 1")

    assert end_connections(core_dsn, "to be ended") == 1
    assert database.fetch("SELECT 2") == [(2,)]

    database.close()


def test_a_connection_that_is_ended_in_use_says_so(core_dsn: str) -> None:
    """A transaction whose connection is ended under it fails as unavailable."""
    database = Database(core_dsn, name="to be ended")

    def interrupted() -> None:
        with database.transaction() as cursor:
            end_connections(core_dsn, "to be ended")
            cursor.execute("SELECT 1")

    with pytest.raises(DatabaseUnavailableError):
        interrupted()

    database.close()


def test_a_connection_that_is_ended_while_it_is_made_ready_says_so(core_dsn: str) -> None:
    """A new connection that ends before its temporary tables are there fails as unavailable."""
    database = Database(core_dsn, name="to be ended")

    def prepare(cursor: Cursor) -> None:
        end_connections(core_dsn, "to be ended")
        cursor.execute("SELECT 1")

    database.on_connect(prepare)

    with pytest.raises(DatabaseUnavailableError):
        database.fetch("SELECT 1")


def test_a_server_that_is_not_there_is_unavailable() -> None:
    """Without a server, the error is a ServiceError that says where it looked."""
    database = Database("host=127.0.0.1 port=1 user=nobody dbname=nothing")

    with pytest.raises(DatabaseUnavailableError, match="cannot be reached"):
        database.fetch("SELECT 1")
