"""Bytes from users: taken in stretches that survive, put together and verified at the end."""

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
from entrepot_core.store import uploads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from entrepot_core.blobs.blob_store import BlobBatch, BlobWriter
    from entrepot_core.domain.blob import Blob
    from entrepot_core.downloads.keeper import Keeper
    from entrepot_core.store.database import Cursor
    from entrepot_core.store.uploads import UploadRow

__all__ = ["Receiving"]

# A crash loses at most so much; a file of more than one stretch is copied once at its end.
STRETCH_BYTES = 256 * 1024**2


class Receiving:
    """Takes the bytes of uploads."""

    def __init__(self, keeper: Keeper, *, stretch_bytes: int = STRETCH_BYTES) -> None:
        self._keeper = keeper
        self._stretch_bytes = stretch_bytes

    def receive(
        self, upload_id: str, offset: int, chunks: Iterator[bytes], *, is_last: bool
    ) -> UploadRow:
        """Appends what comes; if that was all, the upload is complete when it returns.

        What had come before a failure of the chunks is kept. UploadConflictError if the offset is
        not where to go on; SizeMismatchError or DigestMismatchError if the whole is wrong, and
        then the upload starts over.
        """
        with self._keeper.database.transaction() as cursor:
            row = uploads.get(cursor, upload_id)
        if row.digest is not None or row.received_bytes != offset:
            raise uploads.conflict(row, offset)
        row = self._take(row, chunks)
        if is_last or (row.size_bytes and row.received_bytes >= row.size_bytes):
            return self._complete(row)
        return row

    def _take(self, row: UploadRow, chunks: Iterator[bytes]) -> UploadRow:
        is_over = False
        while not is_over:
            with self._keeper.store.begin() as batch:
                most = row.size_bytes - row.received_bytes if row.size_bytes else None
                writer = batch.create(Verifier(max_bytes=most))
                size = 0
                try:
                    while size < self._stretch_bytes:
                        chunk = next(chunks, None)
                        if chunk is None:
                            is_over = True
                            break
                        writer.write(chunk)
                        size += len(chunk)
                except SizeMismatchError:
                    self._restart(row)
                    raise
                except BaseException:
                    # The client has gone: it may go on from what has come.
                    with suppress(ServiceError):
                        self._append(row, batch, writer)
                    raise
                row = self._append(row, batch, writer)
        return row

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
        expected = Expected(digests, row.size_bytes or None)
        with self._keeper.database.transaction() as cursor:
            stretches = uploads.parts(cursor, row.upload_id)
        completed = []

        def complete(cursor: Cursor, blob: Blob) -> None:
            completed.append(uploads.complete(cursor, row.upload_id, blob))

        try:
            if len(stretches) == 1:
                _check(expected, stretches[0])
                with self._keeper.database.transaction() as cursor:
                    complete(cursor, stretches[0])
            else:
                read = self._keeper.store.read
                whole = chain.from_iterable(read(stretch.digest) for stretch in stretches)
                self._keeper.write(whole, Verifier(expected), also=complete)
        except (SizeMismatchError, DigestMismatchError):
            self._restart(row)
            raise
        return completed[0]

    def _restart(self, row: UploadRow) -> None:
        with self._keeper.database.transaction() as cursor:
            uploads.restart(cursor, row.upload_id)


def _check(expected: Expected, blob: Blob) -> None:
    if expected.size_bytes not in (None, blob.size_bytes):
        raise SizeMismatchError(
            f"{blob.size_bytes} bytes came, not {expected.size_bytes}; the upload starts over.",
            metadata={"expected": str(expected.size_bytes), "actual": str(blob.size_bytes)},
        )
    if expected.sha256 not in (None, blob.digest):
        wanted = (expected.sha256 or b"").hex()
        raise DigestMismatchError(
            f"What came has sha256 {blob.hex}, not {wanted}; the upload starts over.",
            metadata={"expected": wanted, "actual": blob.hex},
        )
