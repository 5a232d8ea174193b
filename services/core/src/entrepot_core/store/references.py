"""Looking up what the parameters of a task name: whether it exists, and facts about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_core.store import prepared

if TYPE_CHECKING:
    from collections.abc import Collection

    from entrepot_core.store.database import Cursor

__all__ = [
    "UploadFacts",
    "content",
    "distribution_exists",
    "own_uploads",
    "publication_exists",
    "unit_count",
    "uploads",
]


@dataclass(frozen=True, slots=True)
class UploadFacts:
    """An upload; `digest` is None until it is complete."""

    digest: bytes | None
    size_bytes: int
    filename: str


def content(cursor: Cursor, keys: Collection[tuple[str, bytes]]) -> dict[tuple[str, bytes], int]:
    """Numbers of the units that exist, by content type and key digest."""
    if not keys:
        return {}
    prepared.execute(
        cursor,
        "SELECT t.name, c.key_digest, c.content_id"
        " FROM unnest(%s::text[], %s::bytea[]) AS k(name, digest)"
        " JOIN content_type t ON t.name = k.name"
        # As it stands here it is looked up by its key, also by a plan made while there was none.
        " CROSS JOIN LATERAL (SELECT key_digest, content_id FROM content"
        "  WHERE type_id = t.type_id AND key_digest = k.digest LIMIT 1) c",
        ([name for name, _ in keys], [digest for _, digest in keys]),
    )
    return {(name, bytes(digest)): content_id for name, digest, content_id in cursor.fetchall()}


def unit_count(cursor: Cursor, repository_id: int, number: int) -> int | None:
    """How many units a version has; None if there is no such version."""
    prepared.execute(
        cursor,
        "SELECT unit_count FROM version WHERE repository_id = %s AND number = %s",
        (repository_id, number),
    )
    row = cursor.fetchone()
    return None if row is None else int(row[0])


def publication_exists(cursor: Cursor, plugin: str, publication_id: str) -> bool:
    """Whether a plugin's publication exists."""
    cursor.execute(
        "SELECT FROM publication WHERE publication_id = %s::uuid AND plugin = %s",
        (publication_id, plugin),
    )
    return cursor.fetchone() is not None


def distribution_exists(cursor: Cursor, plugin: str, name: str) -> bool:
    """Whether a plugin's distribution exists."""
    cursor.execute("SELECT FROM distribution WHERE plugin = %s AND name = %s", (plugin, name))
    return cursor.fetchone() is not None


def uploads(cursor: Cursor, upload_ids: Collection[str]) -> dict[str, UploadFacts]:
    """The uploads that exist, by id as PostgreSQL writes it."""
    if not upload_ids:
        return {}
    cursor.execute(
        "SELECT upload_id::text, digest, received_bytes, filename FROM upload"
        " WHERE upload_id = ANY(%s::uuid[])",
        (list(upload_ids),),
    )
    return {
        upload_id: UploadFacts(None if digest is None else bytes(digest), size, filename)
        for upload_id, digest, size, filename in cursor
    }


def own_uploads(cursor: Cursor, principal: str, upload_ids: Collection[str]) -> set[str]:
    """Those of the uploads that a principal has opened, by id as PostgreSQL writes it."""
    cursor.execute(
        "SELECT upload_id::text FROM upload WHERE upload_id = ANY(%s::uuid[]) AND principal = %s",
        (list(upload_ids), principal),
    )
    return {upload_id for (upload_id,) in cursor}
