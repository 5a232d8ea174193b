"""What keeps a blob: every table that names one. A table that is not here loses its blobs."""

from __future__ import annotations

__all__ = ["IS_NAMED_BESIDES_UNITS", "IS_REFERENCED", "REFERENCES"]

# Table, and the column with the digest; each has an index that begins with it.
REFERENCES = (
    ("artifact", "digest"),
    ("published_file", "digest"),
    ("version_index", "digest"),
    ("staged_file", "digest"),
    ("plan_file", "digest"),
    ("attempt_blob", "digest"),
    ("upload", "digest"),
    ("upload_part", "digest"),
    ("fetch_cache", "digest"),
)


def _is_named(tables: tuple[tuple[str, str], ...]) -> str:
    found = (
        f"EXISTS (SELECT FROM {table} r WHERE r.{column} = b.digest)" for table, column in tables
    )
    return f"({' OR '.join(found)})"


IS_REFERENCED = _is_named(REFERENCES)
"""A condition on a row `b` of the table blob."""

IS_NAMED_BESIDES_UNITS = _is_named(tuple(one for one in REFERENCES if one[0] != "artifact"))
"""The same, of what is named by more than files of units."""
