"""S37: the log of the embedded PostgreSQL says what failed, and not with which values."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from entrepot_cli.postgres import EmbeddedPostgres

MARKER = "canary-of-a-secret"


@pytest.fixture
def server() -> Iterator[EmbeddedPostgres]:
    """A server as `entrepot up` starts it."""
    with (
        tempfile.TemporaryDirectory(prefix="entrepot-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres", settings={"fsync": "off"}) as server,
    ):
        yield server


def test_values_of_statements_that_fail_are_not_logged(server: EmbeddedPostgres) -> None:
    """S37: neither the statement, nor its parameters, nor the row or key that it failed at."""
    connection = psycopg2.connect(server.dsn)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE remote (name text UNIQUE, secret text, url text NOT NULL);"
            "PREPARE keep AS INSERT INTO remote VALUES ($1, $2, $3)"
        )
        cursor.execute("EXECUTE keep (%s, %s, %s)", (MARKER, MARKER, "u"))
        for statement, values in (
            ("INSERT INTO remote VALUES (%s, %s, 'u')", (MARKER, MARKER)),
            ("INSERT INTO remote VALUES ('other', %s, %s)", (MARKER, None)),
            ("EXECUTE keep (%s, %s, %s)", (MARKER, MARKER, "u")),
            ("DO $$ BEGIN INSERT INTO remote VALUES (%s, %s, 'u'); END $$", (MARKER, MARKER)),
            ("SELECT 1/0 WHERE %s <> %s", (MARKER, "x")),
        ):
            with pytest.raises(psycopg2.Error):
                cursor.execute(statement, values)
    connection.close()

    logged = server.log.read_text()
    assert logged.count("duplicate key") == 3
    assert "division by zero" in logged
    assert MARKER not in logged
