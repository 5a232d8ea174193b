"""BlobService: bytes for attempts, which see only what was lent to them or is their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.core.v1 import blob_service_pb2, blob_service_pb2_grpc
from entrepot_core.api.blob_messages import decode_expected, decode_sha256, encode_blob
from entrepot_core.domain.blob import CHUNK_BYTES, Verifier
from entrepot_core.domain.errors import (
    BatchTooLargeError,
    FieldInvalidError,
    PermissionDeniedError,
    ResourceNotFoundError,
    ServiceError,
)
from entrepot_core.downloads.fetching import FetchItem
from entrepot_core.downloads.remote import NO_REMOTE
from entrepot_core.downloads.request import Source
from entrepot_core.store import blobs, lending, possession
from entrepot_rpc.status import to_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import grpc

    from entrepot.type.v1 import content_pb2
    from entrepot_core.domain.blob import Expected
    from entrepot_core.downloads.fetching import Fetching
    from entrepot_core.downloads.keeper import Keeper
    from entrepot_core.downloads.remote import Remotes

__all__ = ["BlobService"]

MAX_DIGESTS = 10_000
MAX_ITEMS = 1_000
MAX_BATCH_BYTES = 2 * 1024**2
DEFAULT_MAX_BYTES = 1024**3


class BlobService(blob_service_pb2_grpc.BlobServiceServicer):
    """The servicer; `workspace_of` says which attempt calls, or raises."""

    def __init__(
        self,
        keeper: Keeper,
        fetching: Fetching,
        remotes: Remotes,
        workspace_of: Callable[[grpc.ServicerContext], int],
    ) -> None:
        self._keeper = keeper
        self._database = keeper.database
        self._fetching = fetching
        self._remotes = remotes
        self._workspace_of = workspace_of

    def FindMissingBlobs(
        self, request: blob_service_pb2.FindMissingBlobsRequest, context: grpc.ServicerContext
    ) -> blob_service_pb2.FindMissingBlobsResponse:
        workspace_id = self._workspace_of(context)
        if len(request.digests) > MAX_DIGESTS:
            raise _too_many("digests", len(request.digests), MAX_DIGESTS)
        asked = [
            decode_sha256(digest, f"digests[{index}]")
            for index, digest in enumerate(request.digests)
        ]
        with self._database.transaction() as cursor:
            blobs.revive(cursor, asked)
            missing = set(possession.unusable(cursor, workspace_id, asked))
            blobs.hold(cursor, workspace_id, [d for d in asked if d not in missing])
        return blob_service_pb2.FindMissingBlobsResponse(
            missing=[
                digest
                for digest, value in zip(request.digests, asked, strict=True)
                if value in missing
            ]
        )

    def FetchBlobs(
        self, request: blob_service_pb2.FetchBlobsRequest, context: grpc.ServicerContext
    ) -> Iterator[blob_service_pb2.FetchBlobsResponse]:
        workspace_id = self._workspace_of(context)
        items = self._items(workspace_id, request.items)
        for outcome in self._fetching.fetch(workspace_id, items, context.is_active):
            response = blob_service_pb2.FetchBlobsResponse(
                item_id=outcome.item_id,
                not_modified=outcome.is_not_modified,
                final_url=outcome.final_url,
            )
            if outcome.error is not None:
                response.status.CopyFrom(to_status(outcome.error))
            elif outcome.blob is not None:
                response.blob.CopyFrom(encode_blob(outcome.blob))
            if outcome.previous is not None:
                response.previous.CopyFrom(encode_blob(outcome.previous))
            yield response

    def ReadBlob(
        self, request: blob_service_pb2.ReadBlobRequest, context: grpc.ServicerContext
    ) -> Iterator[blob_service_pb2.ReadBlobResponse]:
        workspace_id = self._workspace_of(context)
        digest = decode_sha256(request.blob, "blob")
        for field, value in (("offset", request.offset), ("limit", request.limit)):
            if value < 0:
                raise FieldInvalidError.at(field, "must not be negative.")
        with self._database.transaction() as cursor:
            unusable = possession.unusable(cursor, workspace_id, [digest])
        if unusable:
            # The same answer whether it is absent or somebody else's.
            raise ResourceNotFoundError.of_name(f"blob sha256:{digest.hex()}", "blob")
        for chunk in self._keeper.store.read(digest, request.offset, request.limit or None):
            yield blob_service_pb2.ReadBlobResponse(chunk=chunk)

    def WriteBlob(
        self,
        request_iterator: Iterator[blob_service_pb2.WriteBlobRequest],
        context: grpc.ServicerContext,
    ) -> blob_service_pb2.WriteBlobResponse:
        workspace_id = self._workspace_of(context)
        first = next(request_iterator, None)
        if first is None or first.WhichOneof("part") != "open":
            raise FieldInvalidError.at("open", "must come first.")
        verifier = Verifier(_expected(first.open, "open.expected"))
        existed = False
        with self._keeper.store.begin() as batch:
            writer = batch.create(verifier)
            for chunk in _chunks(request_iterator):
                writer.write(chunk)
            blob = writer.close()
            with self._database.transaction() as cursor:
                existed = not possession.unusable(cursor, workspace_id, [blob.digest])
            self._keeper.record(batch, workspace_id=workspace_id)
        return blob_service_pb2.WriteBlobResponse(blob=encode_blob(blob), existed=existed)

    def BatchWriteBlobs(
        self, request: blob_service_pb2.BatchWriteBlobsRequest, context: grpc.ServicerContext
    ) -> blob_service_pb2.BatchWriteBlobsResponse:
        workspace_id = self._workspace_of(context)
        size = sum(len(item.data) for item in request.items)
        if size > MAX_BATCH_BYTES:
            raise BatchTooLargeError(
                f"The batch has {size} bytes; at most {MAX_BATCH_BYTES} are allowed. "
                "Split it, or use WriteBlob."
            )
        if len(request.items) > MAX_ITEMS:
            raise _too_many("items", len(request.items), MAX_ITEMS)
        response = blob_service_pb2.BatchWriteBlobsResponse()
        with self._keeper.store.begin() as batch:
            for index, item in enumerate(request.items):
                result = response.results.add()
                try:
                    verifier = Verifier(_expected(item, f"items[{index}].expected"))
                    writer = batch.create(verifier)
                    writer.write(item.data)
                    result.blob.CopyFrom(encode_blob(writer.close()))
                except ServiceError as error:
                    result.status.CopyFrom(to_status(error))
            self._keeper.record(batch, workspace_id=workspace_id)
        return response

    def _items(
        self,
        workspace_id: int,
        items: Sequence[blob_service_pb2.FetchBlobsRequest.Item],
    ) -> list[FetchItem]:
        if len(items) > MAX_ITEMS:
            raise _too_many("items", len(items), MAX_ITEMS)
        with self._database.transaction() as cursor:
            lent = lending.lent_revisions(cursor, workspace_id)
        ids = [item.item_id for item in items]
        if len(set(ids)) != len(ids):
            raise FieldInvalidError.at("items", "two of them have the same item_id.")
        found = []
        for index, item in enumerate(items):
            field = f"items[{index}]"
            if item.max_bytes < 0:
                raise FieldInvalidError.at(f"{field}.max_bytes", "must not be negative.")
            if not item.sources:
                raise FieldInvalidError.at(f"{field}.sources", "is required.")
            found.append(
                FetchItem(
                    item.item_id,
                    tuple(
                        self._source(workspace_id, source, lent, f"{field}.sources[{position}]")
                        for position, source in enumerate(item.sources)
                    ),
                    decode_expected(item.expected, f"{field}.expected"),
                    item.max_bytes or DEFAULT_MAX_BYTES,
                )
            )
        return found

    def _source(
        self,
        workspace_id: int,
        source: content_pb2.RemoteSource,
        lent: dict[str, tuple[int, int]],
        field: str,
    ) -> Source:
        if source.remote_role in lent:
            return Source(source.url, self._remotes.get(*lent[source.remote_role]))
        if source.remote_role:
            raise PermissionDeniedError(
                f'{field}.remote_role: the task was not lent a remote as "{source.remote_role}".'
            )
        with self._database.transaction() as cursor:
            is_named = lending.names_url(cursor, workspace_id, source.url)
        if not is_named:
            raise PermissionDeniedError(
                f"{field}.remote_role: is required, as the task's parameters do not name "
                f"{source.url}."
            )
        return Source(source.url, NO_REMOTE)


def _expected(
    named: blob_service_pb2.WriteBlobRequest.Open | blob_service_pb2.BatchWriteBlobsRequest.Item,
    field: str,
) -> Expected:
    return decode_expected([named.expected] if named.HasField("expected") else [], field)


def _chunks(requests: Iterator[blob_service_pb2.WriteBlobRequest]) -> Iterator[bytes]:
    for request in requests:
        if request.WhichOneof("part") != "chunk":
            raise FieldInvalidError.at("open", "must come once.")
        if len(request.chunk) > CHUNK_BYTES:
            raise BatchTooLargeError(f"A chunk has at most {CHUNK_BYTES} bytes.")
        yield request.chunk


def _too_many(field: str, count: int, most: int) -> BatchTooLargeError:
    return BatchTooLargeError(
        f"{field} has {count} entries; at most {most} are allowed. Split it."
    )
