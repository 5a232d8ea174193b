"""Rows of blobs: registering, reviving, and what an attempt holds. Not: collecting them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg2.extras import execute_values

from entrepot_core.domain.blob import Blob
from entrepot_core.store.plan_items import BLOB_IS_PLANNED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from entrepot_core.store.database import Cursor, Database

__all__ = ["find", "hold", "is_held", "register", "revive", "revive_staged", "total", "walk"]

_BATCH = 5_000


def register(cursor: Cursor, blobs: Iterable[Blob], workspace_id: int | None = None) -> None:
    """Says that blobs are stored. Their bytes must be durable, and `ensure`d before the commit.

    The rows stay locked to the end of the transaction. With a workspace, its attempt holds them.
    """
    rows = sorted(set(blobs))
    if not rows:
        return
    # Sorted, or two of these deadlock. A row that is there is locked, and live afterwards.
    execute_values(
        cursor,
        "INSERT INTO blob (digest, size_bytes) VALUES %s"
        " ON CONFLICT (digest) DO UPDATE SET state = 'live', created_at = now()"
        " WHERE blob.state <> 'live'",
        [(blob.digest, blob.size_bytes) for blob in rows],
        page_size=_BATCH,
    )
    if workspace_id is not None:
        hold(cursor, workspace_id, [blob.digest for blob in rows])


def hold(cursor: Cursor, workspace_id: int, digests: Collection[bytes]) -> None:
    """Lets an attempt read these blobs, and keeps them from the collector while it lives."""
    cursor.execute(
        "INSERT INTO attempt_blob (workspace_id, digest)"
        " SELECT %s, digest FROM unnest(%s::bytea[]) AS t(digest) ORDER BY digest"
        " ON CONFLICT DO NOTHING",
        (workspace_id, list(digests)),
    )


def revive(cursor: Cursor, digests: Collection[bytes]) -> dict[bytes, Blob]:
    """Those of the blobs that are there, live now, so that this transaction can name them.

    Must be called before the rows that name them are written.
    """
    if not digests:
        return {}
    wanted = sorted(set(digests))
    # Gives the transaction its number first, so that a collector waits for it.
    cursor.execute("SELECT pg_current_xact_id()")
    cursor.execute(
        "WITH condemned AS (SELECT digest FROM blob"
        "  WHERE digest = ANY(%s::bytea[]) AND state = 'condemned' ORDER BY digest FOR UPDATE)"
        " UPDATE blob SET state = 'live' FROM condemned WHERE blob.digest = condemned.digest",
        (wanted,),
    )
    return find(cursor, wanted)


def revive_staged(cursor: Cursor, workspace_id: int) -> None:
    """Makes live what an attempt staged and a collector condemned while it was being staged."""
    cursor.execute("SELECT pg_current_xact_id()")
    cursor.execute(
        "UPDATE blob SET state = 'live' WHERE digest = ANY(ARRAY("
        "SELECT b.digest FROM blob b WHERE b.state = 'condemned' AND ("
        " EXISTS (SELECT FROM artifact a JOIN staged s USING (content_id)"
        "  WHERE a.digest = b.digest AND s.workspace_id = %(workspace)s)"
        " OR EXISTS (SELECT FROM staged_file f"
        "  WHERE f.digest = b.digest AND f.workspace_id = %(workspace)s))"
        " ORDER BY b.digest FOR UPDATE))",
        {"workspace": workspace_id},
    )


def find(cursor: Cursor, digests: Collection[bytes]) -> dict[bytes, Blob]:
    """Those of the blobs that are there and live, by digest."""
    if not digests:
        return {}
    cursor.execute(
        "SELECT digest, size_bytes FROM blob WHERE digest = ANY(%s::bytea[]) AND state = 'live'",
        (list(digests),),
    )
    return {bytes(digest): Blob(bytes(digest), size) for digest, size in cursor}


def is_held(cursor: Cursor, workspace_id: int, digest: bytes) -> bool:
    """Whether an attempt fetched, wrote or was told of a blob."""
    cursor.execute(
        "SELECT FROM attempt_blob WHERE workspace_id = %s AND digest = %s", (workspace_id, digest)
    )
    return cursor.fetchone() is not None


def walk(database: Database, plan: str | None = None) -> Iterator[Blob]:
    """All blobs in order of digest, condemned ones too; a page at a time, each as it is then.

    Of an approved plan those that it names.
    """
    last = b""
    while True:
        rows = database.fetch(
            "SELECT digest, size_bytes FROM blob b WHERE digest > %(last)s"
            f" AND {BLOB_IS_PLANNED} ORDER BY digest LIMIT %(most)s",
            {"last": last, "most": _BATCH, "plan": plan},
        )
        for digest, size in rows:
            yield Blob(bytes(digest), size)
        if len(rows) < _BATCH:
            return
        last = bytes(rows[-1][0])


def total(database: Database) -> int:
    """How many there are."""
    ((count,),) = database.fetch("SELECT count(*) FROM blob")
    return int(count)
