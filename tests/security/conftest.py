"""What an attacker tries, and why it does not work."""

from core_database import core_dsn, core_schema, database
from download_fixtures import client, upstream

__all__ = ["client", "core_dsn", "core_schema", "database", "upstream"]
