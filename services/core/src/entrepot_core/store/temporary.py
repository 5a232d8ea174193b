"""Temporary tables, made once for each connection and empty at the start of every transaction.

Making and dropping them in each transaction is three times slower and bloats the catalogue; so
connections that stage or commit must not go through a pooler that shares them among transactions.

A transaction that has looked at one of them empties all that its connection has, index by index,
when it ends. So whoever stages has none of those that commits need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from entrepot_core.store.database import Cursor

__all__ = ["for_commits", "for_staging"]

_STAGING = """
CREATE TEMPORARY TABLE IF NOT EXISTS stage_unit (
  type_id integer NOT NULL, key_digest bytea NOT NULL, unit_digest bytea NOT NULL,
  repo_key text, attributes bytea NOT NULL, filter jsonb
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS stage_source (
  content_id bigint NOT NULL, relative_path text NOT NULL, remote_id bigint NOT NULL,
  position smallint NOT NULL, url text NOT NULL
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS stage_edge (
  source bigint NOT NULL, kind smallint NOT NULL, type_id integer NOT NULL,
  key_digest bytea NOT NULL
) ON COMMIT DELETE ROWS;
"""
_STAGING_NAMES = ("stage_unit", "stage_source", "stage_edge")

# For one repository at a time.
_COMMITS = """
CREATE TEMPORARY TABLE IF NOT EXISTS added_unit (
  content_id bigint PRIMARY KEY, explicit boolean NOT NULL, type_id integer NOT NULL,
  repo_key text COLLATE "C", path text COLLATE "C"
) ON COMMIT DELETE ROWS;
CREATE INDEX IF NOT EXISTS added_unit_key_idx ON added_unit (type_id, repo_key);
CREATE TEMPORARY TABLE IF NOT EXISTS added_path (
  content_id bigint NOT NULL, path text COLLATE "C" NOT NULL
) ON COMMIT DELETE ROWS;
CREATE INDEX IF NOT EXISTS added_path_idx ON added_path (path);
CREATE TEMPORARY TABLE IF NOT EXISTS removed_unit (
  content_id bigint PRIMARY KEY, is_replaced boolean NOT NULL
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS candidate (
  content_id bigint PRIMARY KEY, is_alive boolean NOT NULL
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS changed_reason (
  content_id bigint PRIMARY KEY, explicit boolean NOT NULL
) ON COMMIT DELETE ROWS;
"""

_COMMIT_NAMES = ("added_unit", "added_path", "removed_unit", "candidate", "changed_reason")


def for_staging(cursor: Cursor) -> None:
    """Makes the tables of a new connection that stages; for `Database.on_connect`."""
    _make(cursor, _STAGING, _STAGING_NAMES)


def for_commits(cursor: Cursor) -> None:
    """Makes the tables of a new connection that commits; for `Database.on_connect`."""
    _make(cursor, _COMMITS, _COMMIT_NAMES)


def _make(cursor: Cursor, tables: str, names: Sequence[str]) -> None:
    # Two concurrent CREATEs in different temporary schemas do not meet.
    cursor.execute("SET client_min_messages = warning")
    cursor.execute(tables)
    # Of a table of which nothing is known, the planner believes that it has ten pages, and scans
    # the members of a repository for it; of one that was looked at once, it counts the pages.
    cursor.execute(f"ANALYZE {', '.join(names)}")
    cursor.execute("RESET client_min_messages")
