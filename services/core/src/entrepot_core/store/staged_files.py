"""Files that an attempt stages for a publication."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_core.store import blobs, staging

if TYPE_CHECKING:
    from collections.abc import Sequence

    from entrepot_core.store.database import Cursor

__all__ = ["StagedFile", "has_artifact", "stage"]


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A path and what is served there: a blob, or a file of a unit."""

    path: str
    digest: bytes | None
    content_id: int | None
    relative_path: str | None
    media_type: str


def has_artifact(cursor: Cursor, content_id: int, relative_path: str) -> bool:
    """Whether a unit has a file of this path."""
    cursor.execute(
        "SELECT FROM artifact WHERE content_id = %s AND relative_path = %s",
        (content_id, relative_path),
    )
    return cursor.rowcount > 0


def stage(
    cursor: Cursor,
    workspace_id: int,
    role: str,
    files: Sequence[StagedFile],
    *,
    hide_version: bool,
) -> None:
    """Stages files within a staging call; what was said last of a path holds."""
    blobs.revive(cursor, {file.digest for file in files if file.digest is not None})
    staging.revive_content(
        cursor, sorted({file.content_id for file in files if file.content_id is not None})
    )
    cursor.execute(
        "INSERT INTO staged_publication AS known (workspace_id, role, hide_version)"
        " VALUES (%s, %s, %s) ON CONFLICT ON CONSTRAINT staged_publication_pkey"
        " DO UPDATE SET hide_version = known.hide_version OR EXCLUDED.hide_version",
        (workspace_id, role, hide_version),
    )
    rows = sorted(files, key=lambda file: file.path)
    cursor.execute(
        "INSERT INTO staged_file"
        " (workspace_id, role, path, digest, content_id, relative_path, media_type)"
        " SELECT %s, %s, * FROM"
        " unnest(%s::text[], %s::bytea[], %s::bigint[], %s::text[], %s::text[])"
        " ON CONFLICT ON CONSTRAINT staged_file_pkey DO UPDATE SET digest = EXCLUDED.digest,"
        " content_id = EXCLUDED.content_id, relative_path = EXCLUDED.relative_path,"
        " media_type = EXCLUDED.media_type",
        (
            workspace_id,
            role,
            [file.path for file in rows],
            [file.digest for file in rows],
            [file.content_id for file in rows],
            [file.relative_path for file in rows],
            [file.media_type for file in rows],
        ),
    )
