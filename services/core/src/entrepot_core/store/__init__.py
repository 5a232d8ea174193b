"""PostgreSQL, and nothing else: the only code that speaks SQL."""
