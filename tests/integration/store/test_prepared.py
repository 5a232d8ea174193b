"""Statements that a connection plans once."""

import psycopg2
import pytest

from entrepot_core.store import prepared
from entrepot_core.store.database import Cursor, Database

QUERY = "SELECT count(*) FROM resource WHERE name = ANY(%s::text[]) AND resource_id > %s"


def plans(cursor: Cursor) -> int:
    """How many statements the connection has planned."""
    cursor.execute("SELECT count(*) FROM pg_prepared_statements")
    return int((cursor.fetchone() or (0,))[0])


def test_a_statement_is_planned_once_and_anew_after_a_while(core_dsn: str) -> None:
    """Each run sees the rows there are, one plan is held at a time, and it does not grow old."""
    database = Database(core_dsn, size=1)
    names = set()
    with database.statements() as cursor:
        for number in range(450):
            cursor.execute("INSERT INTO resource (name) VALUES (%s)", (f"r{number}",))
            prepared.execute(cursor, QUERY, ([f"r{number}", "r0", "it's"], 0))
            assert cursor.fetchone() == (2 if number else 1,)
            cursor.execute("SELECT name FROM pg_prepared_statements")
            names.add(cursor.fetchone())
        assert plans(cursor) == 1
    database.close()

    assert len(names) == 3


def test_a_transaction_that_fails_keeps_the_plan(core_dsn: str) -> None:
    """A statement that was planned in a transaction that was rolled back works on."""
    database = Database(core_dsn, size=1)

    def fail() -> None:
        with database.transaction() as cursor:
            prepared.execute(cursor, QUERY, (["x"], 0))
            prepared.execute(cursor, "SELECT 1 / %s::int", (0,))

    for _ in range(2):
        with pytest.raises(psycopg2.errors.DivisionByZero):
            fail()
    with database.transaction() as cursor:
        prepared.execute(cursor, QUERY, (["x"], 0))
        assert cursor.fetchone() == (0,)
        assert plans(cursor) == 2
    database.close()
