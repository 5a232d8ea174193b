"""Bytes from users: taken in stretches that survive, put together and verified at the end.

A stretch is what one request brings, however long it is: a file that comes in one request is
written once. Only one that comes in several is copied, when its last byte has come.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING

from entrepot_core.domain.blob import Expected, Verifier
from entrepot_core.domain.errors import (
    DigestMismatchError,
    ServiceError,
    SizeMismatchError,
)
from entrepot_core.store import possession, uploads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from entrepot_core.blobs.blob_store import BlobBatch, BlobWriter
    from entrepot_core.domain.blob import Blob
    from entrepot_core.downloads.keeper import Keeper
    from entrepot_core.store.database import Cursor
    from entrepot_core.store.uploads import NewUpload, UploadRow

__all__ = ["Receiving"]


class Receiving:
    """Takes the bytes of uploads."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def open(
        self,
        new: Sequence[NewUpload],
        earlier: Callable[[Cursor, NewUpload], str | None] = lambda _cursor, _new: None,
    ) -> list[UploadRow]:
        """Opens uploads; those of files that are here already are complete, and need no room.

        `earlier` names the upload that the same request has opened before, if one has.
        """
        with self._keeper.database.transaction() as cursor:
            here = possession.of_user(cursor, {one.sha256 for one in new if one.sha256})
            rows = []
            for one in new:
                made = earlier(cursor, one)
                if made is not None:
                    rows.append(uploads.get(cursor, made.removeprefix("uploads/")))
                    continue
                row = uploads.create(cursor, one)
                blob = here.get(one.sha256 or b"")
                if blob is not None and one.size_bytes in (0, blob.size_bytes):
                    row = uploads.attach(cursor, row.upload_id, blob)
                rows.append(row)
            absent = sum(row.size_bytes for row in rows if row.digest is None)
            self._keeper.store.require_room(absent)
        return rows

    def receive(
        self,
        upload_id: str,
        offset: int,
        chunks: Iterator[bytes],
        *,
        is_last: bool,
        size_bytes: int = 0,
    ) -> UploadRow:
        """Appends what comes; if that was all, the upload is complete when it returns.

        `size_bytes` is the length of the whole file in bytes, as the client says it again; zero if
        it does not. What had come before a failure of the chunks is kept.

        Raises:
            UploadConflictError: The offset is not where to go on.
            SizeMismatchError: The file would have another length than was declared. Nothing that
                had come before is lost.
            DigestMismatchError: The whole is not what was declared; the upload starts over.
        """
        with self._keeper.database.transaction() as cursor:
            row = uploads.get(cursor, upload_id)
        if row.digest is not None and offset == 0 and is_last:
            return _repeat(row, row.digest, chunks)
        if row.digest is not None or row.received_bytes != offset:
            raise uploads.conflict(row, offset)
        if size_bytes and size_bytes != row.size_bytes:
            row = self._declare(row, size_bytes)
        row = self._take(row, chunks)
        if row.size_bytes and row.received_bytes < row.size_bytes:
            if is_last:
                raise _wrong_size(row, row.received_bytes)
            return row
        return self._complete(row) if is_last or row.size_bytes else row

    def receive_whole(self, files: Sequence[tuple[str, bytes]]) -> list[UploadRow]:
        """Takes whole files, by the ids of their uploads: all of them, or none.

        Raises:
            UploadConflictError: Something has come for one of them already.
            SizeMismatchError: A file has another length than was declared.
            DigestMismatchError: A file is not what was declared.
        """
        completed: list[UploadRow] = []
        with self._keeper.database.transaction() as cursor:
            rows = [uploads.get(cursor, upload_id) for upload_id, _ in files]
        with self._keeper.store.begin() as batch:
            written = [
                (row, _write_whole(row, data, batch))
                for row, (_, data) in zip(rows, files, strict=True)
            ]

            def complete(cursor: Cursor) -> None:
                completed.extend(
                    uploads.attach(cursor, row.upload_id, one) for row, one in written
                )

            self._keeper.record(batch, also=complete)
        return completed

    def _declare(self, row: UploadRow, size_bytes: int) -> UploadRow:
        if row.size_bytes or size_bytes < row.received_bytes:
            raise _wrong_size(row, size_bytes)
        with self._keeper.database.transaction() as cursor:
            uploads.declare(cursor, row.upload_id, size_bytes)
            return uploads.get(cursor, row.upload_id)

    def _take(self, row: UploadRow, chunks: Iterator[bytes]) -> UploadRow:
        most = row.size_bytes - row.received_bytes if row.size_bytes else None
        with self._keeper.store.begin() as batch:
            writer = batch.create(Verifier(max_bytes=most))
            size = 0
            try:
                for chunk in chunks:
                    size += len(chunk)
                    writer.write(chunk)
            except SizeMismatchError:
                # One of them does not belong there, and nobody knows which: none is taken.
                raise _wrong_size(row, row.received_bytes + size, "or more") from None
            except BaseException:
                # The client has gone: it may go on from what has come.
                with suppress(ServiceError):
                    self._append(row, batch, writer)
                raise
            return self._append(row, batch, writer)

    def _append(self, row: UploadRow, batch: BlobBatch, writer: BlobWriter) -> UploadRow:
        blob = writer.close()
        if not blob.size_bytes:
            return row
        appended = []

        def append(cursor: Cursor) -> None:
            appended.append(uploads.append(cursor, row.upload_id, row.received_bytes, blob))

        self._keeper.record(batch, also=append)
        return appended[0]

    def _complete(self, row: UploadRow) -> UploadRow:
        digests = (("sha256", row.sha256),) if row.sha256 is not None else ()
        expected = Expected(digests, row.received_bytes)
        with self._keeper.database.transaction() as cursor:
            stretches = uploads.parts(cursor, row.upload_id)
        completed = []

        def complete(cursor: Cursor, blob: Blob) -> None:
            completed.append(uploads.complete(cursor, row.upload_id, blob))

        try:
            if len(stretches) == 1:
                _check(row, stretches[0].digest)
                with self._keeper.database.transaction() as cursor:
                    complete(cursor, stretches[0])
            else:
                read = self._keeper.store.read
                whole = chain.from_iterable(read(stretch.digest) for stretch in stretches)
                self._keeper.write(whole, Verifier(expected), also=complete)
        except DigestMismatchError as error:
            with self._keeper.database.transaction() as cursor:
                uploads.restart(cursor, row.upload_id)
            raise _wrong_digest(row, error.metadata["actual"]) from None
        return completed[0]


def _write_whole(row: UploadRow, data: bytes, batch: BlobBatch) -> Blob:
    if row.digest is not None or row.received_bytes:
        raise uploads.conflict(row, 0)
    if row.size_bytes not in (0, len(data)):
        raise _wrong_size(row, len(data))
    writer = batch.create()
    writer.write(data)
    blob = writer.close()
    _check(row, blob.digest)
    return blob


def _repeat(row: UploadRow, digest: bytes, chunks: Iterator[bytes]) -> UploadRow:
    """The complete upload, if these are its bytes: its client may have missed the answer."""
    verifier = Verifier(max_bytes=row.received_bytes)
    try:
        for chunk in chunks:
            verifier.update(chunk)
        if verifier.finish().digest == digest:
            return row
    except SizeMismatchError:
        pass
    raise uploads.conflict(row, 0)


def _check(row: UploadRow, digest: bytes) -> None:
    if row.sha256 not in (None, digest):
        raise _wrong_digest(row, digest.hex())


def _wrong_digest(row: UploadRow, actual: str) -> DigestMismatchError:
    expected = (row.sha256 or b"").hex()
    return DigestMismatchError(
        f"The {row.received_bytes} bytes of {row.name} have sha256 {actual}, not {expected}: "
        "the upload starts over at byte 0.",
        metadata={"expected": expected, "actual": actual},
    )


def _wrong_size(row: UploadRow, actual: int, more: str = "") -> SizeMismatchError:
    size = f"{actual} bytes or more" if more else f"{actual} bytes"
    expected = row.size_bytes or row.received_bytes
    declared = f"not the {expected} declared" if row.size_bytes else f"and {expected} have come"
    return SizeMismatchError(
        f"{row.name} would have {size}, {declared}; it goes on at byte {row.received_bytes}.",
        metadata={
            "expected": str(expected),
            "actual": str(actual),
            "offset": str(row.received_bytes),
        },
    )
