"""`entrepot-core check` as a command."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg2


def test_data_of_an_earlier_release_is_not_checked(core_dsn: str, tmp_path: Path) -> None:
    """What a release looks for may not be there before its migrations: it says what to run."""
    connection = psycopg2.connect(core_dsn)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM migration WHERE name = (SELECT max(name) FROM migration) "
            "RETURNING name, digest"
        )
        applied = cursor.fetchone()
        assert applied is not None
        environment = {"ENTREPOT_DATABASE_URL": core_dsn, "ENTREPOT_HOME": str(tmp_path)}
        try:
            done = subprocess.run(
                [sys.executable, "-m", "entrepot_core", "check"],
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            cursor.execute("INSERT INTO migration (name, digest) VALUES (%s, %s)", applied)
    connection.close()

    assert done.returncode == 1
    assert f"lacks {applied[0]}; run `entrepot-core migrate` first" in done.stderr
    assert "Traceback" not in done.stderr
