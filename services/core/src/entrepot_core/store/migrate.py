"""Brings the schema up to date: numbered SQL files, each once, in order, one runner at a time."""

from __future__ import annotations

import hashlib
import re
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

import structlog

from entrepot_core.store.database import MINIMUM_VERSION, connect

if TYPE_CHECKING:
    from entrepot_core.store.database import Connection

__all__ = ["Migration", "migrate", "migrations", "pending"]

log = structlog.get_logger()

_LOCK = (
    0,
    0,
)  # two-integer advisory locks are ours for single runners; one-integer ones belong to resources
_FILE = re.compile(r"(\d{4})_[a-z_]+\.sql")


class Migration(NamedTuple):
    """A migration: its file name, its text, and the SHA-256 of the text in hexadecimal."""

    name: str
    sql: str
    digest: str


def migrations() -> list[Migration]:
    """All migrations that this release has, in order."""
    folder = resources.files("entrepot_core.store") / "migrations"
    found = []
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if _FILE.fullmatch(file.name):
            sql = file.read_text(encoding="utf-8")
            found.append(Migration(file.name, sql, hashlib.sha256(sql.encode()).hexdigest()))
    return found


def migrate(url: str) -> list[str]:
    """Applies what is missing, each in its own transaction, and returns the names of that.

    Raises RuntimeError if the server is older than PostgreSQL 15, or if a migration was applied
    with another text than this release has.
    """
    connection = connect(url, name="entrepot migrate")
    try:
        if connection.server_version < MINIMUM_VERSION:
            message = (
                f"PostgreSQL 15 or newer is needed; this is {connection.server_version // 10000}."
            )
            raise RuntimeError(message)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s, %s)", _LOCK)
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS migration ("
                " name text PRIMARY KEY, digest text NOT NULL,"
                " applied_at timestamptz NOT NULL DEFAULT now())"
            )
        missing = _missing(connection)
        for migration in missing:
            _apply(connection, migration)
        return [migration.name for migration in missing]
    finally:
        connection.close()


def pending(url: str) -> list[str]:
    """Names of the migrations that this release has and the database does not."""
    connection = connect(url, name="entrepot migrate")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('migration') IS NOT NULL")
            row = cursor.fetchone()
        if row is None or not row[0]:
            return [migration.name for migration in migrations()]
        return [migration.name for migration in _missing(connection)]
    finally:
        connection.close()


def _missing(connection: Connection) -> list[Migration]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, digest FROM migration")
        applied: dict[str, str] = dict(cursor.fetchall())
    for migration in migrations():
        if applied.get(migration.name, migration.digest) != migration.digest:
            message = (
                f"Migration {migration.name} was applied with another text; "
                "go back to the release that applied it."
            )
            raise RuntimeError(message)
    return [migration for migration in migrations() if migration.name not in applied]


def _apply(connection: Connection, migration: Migration) -> None:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        try:
            cursor.execute(migration.sql)
            cursor.execute(
                "INSERT INTO migration (name, digest) VALUES (%s, %s)",
                (migration.name, migration.digest),
            )
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
        cursor.execute("COMMIT")
    log.info("migration.applied", name=migration.name)
