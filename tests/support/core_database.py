"""Fixtures of a database with core's schema; `postgres_dsn` gives them an empty one."""

from collections.abc import Iterator

import psycopg2
import pytest

from entrepot_core.store import temporary
from entrepot_core.store.database import Database
from entrepot_core.store.migrate import migrate

# A new database for each test costs more than most tests; rows go much faster. Foreign keys are
# not looked at meanwhile, as everything goes but what the migrations put there.
_EMPTY = """
DO $$ DECLARE t text; BEGIN
  PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid();
  SET LOCAL session_replication_role = replica;
  FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public'
       AND tablename NOT IN ('migration', 'plugin', 'plugin_revision') LOOP
    EXECUTE format('DELETE FROM %I', t);
  END LOOP;
  DELETE FROM plugin WHERE name <> 'core';
END $$
"""


@pytest.fixture(scope="session")
def core_schema(postgres_dsn: str) -> str:
    """A database with core's schema, for the tests of this process one after the other."""
    migrate(postgres_dsn)
    return postgres_dsn


@pytest.fixture
def core_dsn(core_schema: str) -> Iterator[str]:
    """A database with core's schema and nothing in it."""
    yield core_schema
    empty(core_schema)


def empty(dsn: str) -> None:
    """Delete everything from a database with core's schema."""
    connection = psycopg2.connect(dsn)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(_EMPTY)
    finally:
        connection.close()


@pytest.fixture
def database(core_dsn: str) -> Iterator[Database]:
    """Connections to a database of this test alone."""
    database = Database(core_dsn, size=20)
    database.on_connect(temporary.for_staging)
    database.on_connect(temporary.for_commits)
    yield database
    database.close()
