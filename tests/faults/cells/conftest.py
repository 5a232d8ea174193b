"""Real PostgreSQL: an empty database is postgres_dsn, one with core's schema is core_dsn."""

from core_database import core_dsn, core_schema, database

__all__ = ["core_dsn", "core_schema", "database"]
