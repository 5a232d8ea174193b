"""Real PostgreSQL."""
