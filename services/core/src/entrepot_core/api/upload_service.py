"""UploadService: bytes from users on their way into tasks."""

from __future__ import annotations

import hashlib
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

from entrepot.core.v1 import upload_service_pb2, upload_service_pb2_grpc
from entrepot_core.api.creation_requests import CreationRequests
from entrepot_core.domain.blob import CHUNK_BYTES, parse_digest
from entrepot_core.domain.errors import (
    BatchTooLargeError,
    DigestMismatchError,
    FieldInvalidError,
    ResourceNotFoundError,
    SizeMismatchError,
)
from entrepot_core.domain.names import full_name, new_id
from entrepot_core.downloads.request import MAX_BYTES
from entrepot_core.store import references, uploads
from entrepot_core.store.api_tokens import ADMIN
from entrepot_rpc.errors import Code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import grpc

    from entrepot_core.downloads.keeper import Keeper
    from entrepot_core.downloads.receiving import Receiving
    from entrepot_core.store.database import Cursor
    from entrepot_core.store.uploads import NewUpload, UploadRow

__all__ = ["UploadService", "upload_message"]

MAX_FILENAME = 1024
MAX_UPLOADS = 1_000
MAX_BATCH_BYTES = 2 * 1024**2

_EMPTY = hashlib.sha256(b"").digest()


class UploadService(upload_service_pb2_grpc.UploadServiceServicer):
    """The servicer; `principal_of` says who calls."""

    def __init__(
        self,
        keeper: Keeper,
        receiving: Receiving,
        principal_of: Callable[[grpc.ServicerContext], str],
    ) -> None:
        self._keeper = keeper
        self._database = keeper.database
        self._receiving = receiving
        self._principal_of = principal_of
        self._requests = CreationRequests(principal_of)

    def CreateUpload(
        self, request: upload_service_pb2.CreateUploadRequest, context: grpc.ServicerContext
    ) -> upload_service_pb2.CreateUploadResponse:

        def earlier(cursor: Cursor, new: NewUpload) -> str | None:
            return self._requests.earlier(cursor, context, request, f"uploads/{new.upload_id}")

        (row,) = self._open([request.upload], ["upload"], context, earlier)
        return upload_service_pb2.CreateUploadResponse(upload=upload_message(row))

    def BatchCreateUploads(
        self, request: upload_service_pb2.BatchCreateUploadsRequest, context: grpc.ServicerContext
    ) -> upload_service_pb2.BatchCreateUploadsResponse:
        if len(request.uploads) > MAX_UPLOADS:
            raise BatchTooLargeError(
                f"uploads has {len(request.uploads):,} entries; at most {MAX_UPLOADS:,} are "
                "allowed. Split it."
            )
        fields = [f"uploads[{index}]" for index in range(len(request.uploads))]
        rows = self._open(request.uploads, fields, context)
        return upload_service_pb2.BatchCreateUploadsResponse(
            uploads=[upload_message(row) for row in rows]
        )

    def GetUpload(
        self, request: upload_service_pb2.GetUploadRequest, context: grpc.ServicerContext
    ) -> upload_service_pb2.GetUploadResponse:
        upload_id = _id(request.name)
        self._require_own([upload_id], context)
        with self._database.transaction() as cursor:
            row = uploads.get(cursor, upload_id)
        return upload_service_pb2.GetUploadResponse(upload=upload_message(row))

    def WriteUpload(
        self,
        request_iterator: Iterator[upload_service_pb2.WriteUploadRequest],
        context: grpc.ServicerContext,
    ) -> upload_service_pb2.WriteUploadResponse:
        first = next(request_iterator, None)
        if first is None or first.WhichOneof("part") != "open":
            raise FieldInvalidError.at("open", "must come first.")
        upload_id = _id(first.open.name)
        self._require_own([upload_id], context)
        with _faults_of_the_client():
            row = self._receiving.receive(
                upload_id,
                first.open.offset,
                _chunks(request_iterator, ends=first.open.ends),
                is_last=first.open.last,
                size_bytes=_size(first.open.size_bytes, "open.size_bytes"),
            )
        return upload_service_pb2.WriteUploadResponse(upload=upload_message(row))

    def BatchWriteUploads(
        self, request: upload_service_pb2.BatchWriteUploadsRequest, context: grpc.ServicerContext
    ) -> upload_service_pb2.BatchWriteUploadsResponse:
        size = sum(len(item.data) for item in request.items)
        if len(request.items) > MAX_UPLOADS or size > MAX_BATCH_BYTES:
            raise BatchTooLargeError(
                f"items has {len(request.items):,} files of {size:,} bytes; at most "
                f"{MAX_UPLOADS:,} files of {MAX_BATCH_BYTES:,} bytes are allowed. Split it."
            )
        ids = [_id(item.name) for item in request.items]
        self._require_own(ids, context)
        with _faults_of_the_client():
            rows = self._receiving.receive_whole(
                [(one, item.data) for one, item in zip(ids, request.items, strict=True)]
            )
        return upload_service_pb2.BatchWriteUploadsResponse(
            uploads=[upload_message(row) for row in rows]
        )

    def DeleteUpload(
        self, request: upload_service_pb2.DeleteUploadRequest, context: grpc.ServicerContext
    ) -> upload_service_pb2.DeleteUploadResponse:
        upload_id = _id(request.name)
        self._require_own([upload_id], context)
        with self._database.transaction() as cursor:
            uploads.delete(cursor, upload_id)
        return upload_service_pb2.DeleteUploadResponse()

    def _open(
        self,
        given: Sequence[upload_service_pb2.Upload],
        fields: Sequence[str],
        context: grpc.ServicerContext,
        earlier: Callable[[Cursor, NewUpload], str | None] = lambda _cursor, _new: None,
    ) -> list[UploadRow]:
        principal = self._principal_of(context)
        new = [_new(one, field, principal) for one, field in zip(given, fields, strict=True)]
        self._keeper.store.require_room(sum(one.size_bytes for one in new if not one.sha256))
        return [self._begun(row) for row in self._receiving.open(new, earlier)]

    def _require_own(self, upload_ids: Sequence[str], context: grpc.ServicerContext) -> None:
        """Somebody else's upload is as good as none, except to the administrator."""
        principal = self._principal_of(context)
        if principal == ADMIN or not upload_ids:
            return
        with self._database.transaction() as cursor:
            own = references.own_uploads(cursor, principal, upload_ids)
        for upload_id in upload_ids:
            if upload_id not in own:
                raise ResourceNotFoundError.of_name(f"uploads/{upload_id}")

    def _begun(self, row: UploadRow) -> UploadRow:
        if row.digest is None and row.sha256 == _EMPTY and not row.size_bytes:
            # Nothing more will come.
            return self._receiving.receive(row.upload_id, 0, iter(()), is_last=True)
        return row


@contextmanager
def _faults_of_the_client() -> Iterator[None]:
    try:
        yield
    except (DigestMismatchError, SizeMismatchError) as error:
        # Nothing was lost here: the client sent other bytes than it said.
        error.code = Code.INVALID_ARGUMENT
        raise


def _new(given: upload_service_pb2.Upload, field: str, principal: str) -> uploads.NewUpload:
    size = _size(given.size_bytes, f"{field}.size_bytes")
    if len(given.filename.encode()) > MAX_FILENAME or not given.filename.isprintable():
        raise FieldInvalidError.at(
            f"{field}.filename",
            f"must have at most {MAX_FILENAME} bytes and no control characters.",
        )
    sha256 = parse_digest("sha256", given.sha256, f"{field}.sha256") if given.sha256 else None
    return uploads.NewUpload(new_id(), size, sha256, given.filename, principal)


def _size(size_bytes: int, field: str) -> int:
    if size_bytes < 0:
        raise FieldInvalidError.at(field, "must not be negative.")
    if size_bytes > MAX_BYTES:
        raise FieldInvalidError.at(field, f"must be at most {MAX_BYTES} (64 GiB).")
    return size_bytes


def _id(name: str) -> str:
    spelled = full_name(name, "uploads", field="name")
    try:
        return str(uuid.UUID(spelled.removeprefix("uploads/")))
    except ValueError:
        raise ResourceNotFoundError.of_name(spelled, "name") from None


def _chunks(
    requests: Iterator[upload_service_pb2.WriteUploadRequest], *, ends: bool
) -> Iterator[bytes]:
    for request in requests:
        part = request.WhichOneof("part")
        if part == "end":
            return
        if part != "chunk":
            raise FieldInvalidError.at("open", "must come once.")
        if len(request.chunk) > CHUNK_BYTES:
            raise BatchTooLargeError(f"A chunk has at most {CHUNK_BYTES} bytes.")
        yield request.chunk
    if ends:
        # A stream that was canceled may look like one that has ended.
        raise FieldInvalidError.at("end", "must come last, as open.ends says.")


def upload_message(row: UploadRow) -> upload_service_pb2.Upload:
    """The message of an upload; when it is complete, with what came."""
    digest = row.digest or row.sha256
    upload = upload_service_pb2.Upload(
        name=row.name,
        size_bytes=row.received_bytes if row.digest is not None else row.size_bytes,
        sha256=digest.hex() if digest else "",
        filename=row.filename,
        received_bytes=row.received_bytes,
        complete=row.digest is not None,
    )
    upload.create_time.FromDatetime(row.created_at)
    upload.expire_time.FromDatetime(row.expires_at)
    return upload
