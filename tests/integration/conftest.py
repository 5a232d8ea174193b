"""Real PostgreSQL: an empty database is postgres_dsn, one with core's schema is core_dsn."""

import secrets
from collections.abc import Iterator

import psycopg2
import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from entrepot_core.store import temporary
from entrepot_core.store.database import Database
from entrepot_core.store.migrate import migrate


@pytest.fixture(scope="session")
def core_template(postgres_dsn: str) -> str:
    """The database with core's schema that the others are copied from; nobody stays connected."""
    migrate(postgres_dsn)
    return postgres_dsn


@pytest.fixture
def core_dsn(postgres_server: str, core_template: str) -> Iterator[str]:
    """A database of this test alone, with core's schema and nothing in it."""
    template = parse_dsn(core_template)["dbname"]
    name = f"entrepot_test_{secrets.token_hex(8)}"
    connection = psycopg2.connect(postgres_server)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
            yield make_dsn(**{**parse_dsn(postgres_server), "dbname": name})
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        connection.close()


@pytest.fixture
def database(core_dsn: str) -> Iterator[Database]:
    """Connections to a database of this test alone."""
    database = Database(core_dsn, size=20)
    database.on_connect(temporary.prepare)
    yield database
    database.close()
