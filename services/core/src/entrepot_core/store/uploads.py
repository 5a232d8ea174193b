"""Uploads: what has come of each. A stretch of bytes is a blob once it is acknowledged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_core.domain.blob import Blob
from entrepot_core.domain.errors import ResourceNotFoundError, UploadConflictError

if TYPE_CHECKING:
    from datetime import datetime

    from entrepot_core.store.database import Cursor

__all__ = [
    "NewUpload",
    "UploadRow",
    "append",
    "attach",
    "complete",
    "create",
    "declare",
    "delete",
    "get",
    "parts",
    "restart",
    "sweep_expired",
]

LIFETIME_HOURS = 24


@dataclass(frozen=True, slots=True)
class NewUpload:
    """What is known of a file before its bytes; size 0 is not known."""

    upload_id: str
    size_bytes: int
    sha256: bytes | None
    filename: str
    principal: str


@dataclass(frozen=True, slots=True)
class UploadRow:
    """An upload; `digest` is set when it is complete."""

    upload_id: str
    size_bytes: int
    sha256: bytes | None
    filename: str
    received_bytes: int
    digest: bytes | None
    created_at: datetime
    expires_at: datetime

    @property
    def name(self) -> str:
        return f"uploads/{self.upload_id}"


_COLUMNS = (
    "upload_id::text, size_bytes, sha256, filename, received_bytes, digest, created_at, expires_at"
)


def create(cursor: Cursor, upload: NewUpload) -> UploadRow:
    """Opens an upload."""
    cursor.execute(
        "INSERT INTO upload (upload_id, size_bytes, sha256, filename, principal, expires_at)"
        " VALUES (%s::uuid, %s, %s, %s, %s, now() + make_interval(hours => %s))"
        f" RETURNING {_COLUMNS}",
        (
            upload.upload_id,
            upload.size_bytes,
            upload.sha256,
            upload.filename,
            upload.principal,
            LIFETIME_HOURS,
        ),
    )
    return _row(cursor)


def get(cursor: Cursor, upload_id: str, *, lock: bool = False) -> UploadRow:
    """The upload of an id. ResourceNotFoundError if there is none, or if it has expired."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM upload"
        f" WHERE upload_id = %s::uuid AND expires_at > now(){' FOR UPDATE' if lock else ''}",
        (upload_id,),
    )
    if cursor.rowcount == 0:
        raise ResourceNotFoundError.of_name(f"uploads/{upload_id}")
    return _row(cursor)


def append(cursor: Cursor, upload_id: str, first_byte: int, blob: Blob) -> UploadRow:
    """Adds a stretch of bytes. UploadConflictError if it does not begin where the last ended."""
    row = get(cursor, upload_id, lock=True)
    if row.digest is not None or row.received_bytes != first_byte:
        raise conflict(row, first_byte)
    if blob.size_bytes:
        cursor.execute(
            "INSERT INTO upload_part (upload_id, first_byte, size_bytes, digest)"
            " VALUES (%s::uuid, %s, %s, %s)",
            (upload_id, first_byte, blob.size_bytes, blob.digest),
        )
    cursor.execute(
        "UPDATE upload SET received_bytes = received_bytes + %s,"
        " expires_at = now() + make_interval(hours => %s)"
        f" WHERE upload_id = %s::uuid RETURNING {_COLUMNS}",
        (blob.size_bytes, LIFETIME_HOURS, upload_id),
    )
    return _row(cursor)


def declare(cursor: Cursor, upload_id: str, size_bytes: int) -> None:
    """Keeps the length of a file that came to be known with its bytes."""
    cursor.execute(
        "UPDATE upload SET size_bytes = %s"
        " WHERE upload_id = %s::uuid AND size_bytes = 0 AND digest IS NULL",
        (size_bytes, upload_id),
    )


def parts(cursor: Cursor, upload_id: str) -> list[Blob]:
    """The stretches that have come, in order."""
    cursor.execute(
        "SELECT digest, size_bytes FROM upload_part WHERE upload_id = %s::uuid"
        " ORDER BY first_byte",
        (upload_id,),
    )
    return [Blob(bytes(digest), size) for digest, size in cursor]


def complete(cursor: Cursor, upload_id: str, blob: Blob) -> UploadRow:
    """Says that the upload is this blob. UploadConflictError if it is not as long by now."""
    row = get(cursor, upload_id, lock=True)
    if row.digest is not None or row.received_bytes != blob.size_bytes:
        raise conflict(row, blob.size_bytes)
    cursor.execute("DELETE FROM upload_part WHERE upload_id = %s::uuid", (upload_id,))
    cursor.execute(
        f"UPDATE upload SET digest = %s WHERE upload_id = %s::uuid RETURNING {_COLUMNS}",
        (blob.digest, upload_id),
    )
    return _row(cursor)


def attach(cursor: Cursor, upload_id: str, blob: Blob) -> UploadRow:
    """Says that an upload is all of a blob. UploadConflictError if bytes have come for it."""
    cursor.execute(
        "UPDATE upload SET digest = %s, received_bytes = %s,"
        " expires_at = now() + make_interval(hours => %s)"
        " WHERE upload_id = %s::uuid AND digest IS NULL AND received_bytes = 0"
        f" RETURNING {_COLUMNS}",
        (blob.digest, blob.size_bytes, LIFETIME_HOURS, upload_id),
    )
    return _row(cursor)


def restart(cursor: Cursor, upload_id: str) -> None:
    """Forgets what has come, as it was wrong."""
    cursor.execute("DELETE FROM upload_part WHERE upload_id = %s::uuid", (upload_id,))
    cursor.execute(
        "UPDATE upload SET received_bytes = 0 WHERE upload_id = %s::uuid AND digest IS NULL",
        (upload_id,),
    )


def delete(cursor: Cursor, upload_id: str) -> None:
    """Gives up an upload. ResourceNotFoundError if there is none."""
    cursor.execute("DELETE FROM upload WHERE upload_id = %s::uuid", (upload_id,))
    if cursor.rowcount == 0:
        raise ResourceNotFoundError.of_name(f"uploads/{upload_id}")


def sweep_expired(cursor: Cursor, limit: int = 1_000) -> int:
    """Gives up uploads that nobody went on with, at most so many; returns how many."""
    cursor.execute(
        "DELETE FROM upload WHERE upload_id IN (SELECT upload_id FROM upload"
        " WHERE expires_at <= now() LIMIT %s FOR UPDATE SKIP LOCKED)",
        (limit,),
    )
    return cursor.rowcount


def conflict(row: UploadRow, offset: int) -> UploadConflictError:
    """The error of bytes that do not fit."""
    why = (
        f"{row.name} is complete"
        if row.digest is not None
        else f"{row.name} goes on at byte {row.received_bytes}, not at {offset}"
    )
    return UploadConflictError(
        f"{why}.", metadata={"resource": row.name, "offset": str(row.received_bytes)}
    )


def _row(cursor: Cursor) -> UploadRow:
    found = cursor.fetchone()
    if found is None:
        raise UploadConflictError("Somebody else has written or given up the upload meanwhile.")
    upload_id, size, sha256, filename, received, digest, created_at, expires_at = found
    return UploadRow(
        upload_id,
        size,
        None if sha256 is None else bytes(sha256),
        filename,
        received,
        None if digest is None else bytes(digest),
        created_at,
        expires_at,
    )
