"""What keeps a blob: every table that names one. A table that is not here loses its blobs."""

from __future__ import annotations

__all__ = ["IS_REFERENCED", "REFERENCES"]

# Table, and the column with the digest; each has an index that begins with it.
REFERENCES = (
    ("artifact", "digest"),
    ("published_file", "digest"),
    ("version_index", "digest"),
    ("staged_file", "digest"),
    ("attempt_blob", "digest"),
    ("upload", "digest"),
    ("upload_part", "digest"),
    ("fetch_cache", "digest"),
)

IS_REFERENCED = (
    "("
    + " OR ".join(
        f"EXISTS (SELECT FROM {table} r WHERE r.{column} = b.digest)"
        for table, column in REFERENCES
    )
    + ")"
)
"""A condition on a row `b` of the table blob."""
