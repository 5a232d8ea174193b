"""Real PostgreSQL: see postgres_dsn."""
