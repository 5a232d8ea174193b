"""Where the file of a unit can be had: here, or from which remotes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_core.store import blobs
from entrepot_core.store.wanted import RemoteSource

if TYPE_CHECKING:
    from entrepot_core.domain.blob import Blob
    from entrepot_core.store.database import Cursor

__all__ = ["SourcedFile", "find", "policy"]


@dataclass(frozen=True, slots=True)
class SourcedFile:
    """A file, what it must be, its blob if that is stored, and its sources, best first."""

    content_id: int
    relative_path: str
    sha256: bytes | None
    size_bytes: int | None
    other_digests: dict[str, str]
    stored: Blob | None
    sources: tuple[RemoteSource, ...]


def find(cursor: Cursor, content_id: int, relative_path: str) -> SourcedFile | None:
    """The file of a unit, or None if there is none."""
    cursor.execute(
        "SELECT digest, size_bytes, other_digests FROM artifact"
        " WHERE content_id = %s AND relative_path = %s",
        (content_id, relative_path),
    )
    row = cursor.fetchone()
    if row is None:
        return None
    digest = None if row[0] is None else bytes(row[0])
    stored = None if digest is None else blobs.find(cursor, [digest]).get(digest)
    cursor.execute(
        "SELECT s.url, r.remote_id, r.revision"
        " FROM artifact_source s JOIN remote r USING (remote_id)"
        " WHERE s.content_id = %s AND s.relative_path = %s ORDER BY s.position, r.remote_id",
        (content_id, relative_path),
    )
    found = tuple(RemoteSource(*values) for values in cursor)
    return SourcedFile(content_id, relative_path, digest, row[1], row[2] or {}, stored, found)


def policy(cursor: Cursor, content_id: int, relative_path: str) -> str:
    """When the file is fetched, as its best source says: "streamed" and so on; empty without."""
    cursor.execute(
        "SELECT r.policy FROM artifact_source s JOIN remote r USING (remote_id)"
        " WHERE s.content_id = %s AND s.relative_path = %s"
        " ORDER BY s.position, r.remote_id LIMIT 1",
        (content_id, relative_path),
    )
    row = cursor.fetchone()
    return "" if row is None else str(row[0])
