"""ServingService: paths to files, for the content origin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.core.v1 import serving_service_pb2, serving_service_pb2_grpc
from entrepot_core.domain.blob import Blob
from entrepot_core.domain.errors import BlobMissingError, FieldInvalidError, PathNotFoundError
from entrepot_core.domain.paths import fault_of
from entrepot_core.store import folders, former_targets, serving, sources, version_choice

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    import grpc
    from google.protobuf import timestamp_pb2

    from entrepot_core.api.pointers import PointerWatch
    from entrepot_core.downloads.index_files import IndexFiles
    from entrepot_core.downloads.on_demand import OnDemand
    from entrepot_core.store.database import Cursor, Database
    from entrepot_core.store.serving import ContentSet, Pointer, ServedFile

__all__ = ["LONG_CALLS", "ServingService"]

# Methods that wait for upstreams or for ever, and must not take the threads of the others.
LONG_CALLS = tuple(
    f"/entrepot.core.v1.ServingService/{method}"
    for method in ("FetchFile", "StreamFile", "WatchPointers")
)

# How long a gateway that has gone away may go unnoticed.
_LOOK_SECONDS = 5.0

_Kind = serving_service_pb2.ResolvePathResponse


class ServingService(serving_service_pb2_grpc.ServingServiceServicer):
    """The servicer."""

    def __init__(
        self,
        database: Database,
        on_demand: OnDemand,
        indexes: IndexFiles,
        watch: PointerWatch,
    ) -> None:
        self._database = database
        self._on_demand = on_demand
        self._indexes = indexes
        self._watch = watch

    def ResolvePointer(
        self, request: serving_service_pb2.ResolvePointerRequest, context: grpc.ServicerContext
    ) -> serving_service_pb2.ResolvePointerResponse:
        response = serving_service_pb2.ResolvePointerResponse()
        if "\0" in request.path:
            return response
        with self._database.transaction() as cursor:
            pointer = serving.find_pointer(cursor, request.path)
            if pointer is None:
                return response
            response.distribution = pointer.distribution
            response.base_path = pointer.base_path
            if pointer.selector is not None:
                _select(cursor, pointer, response)
                return response
            response.content_set = pointer.content_set
            _set_time(response.time, pointer.made_at)
            for previous in former_targets.previous(cursor, pointer.distribution_id):
                if previous.content_set != pointer.content_set:
                    added = response.previous.add(content_set=previous.content_set)
                    added.remaining.FromMilliseconds(int(1000 * previous.remaining_seconds))
        return response

    def ResolvePath(
        self, request: serving_service_pb2.ResolvePathRequest, context: grpc.ServicerContext
    ) -> serving_service_pb2.ResolvePathResponse:
        path = request.path
        with self._database.transaction() as cursor:
            where = serving.find_set(cursor, request.content_set)
            # No file has such a path, so nothing needs to be looked for.
            if where is None or (path and fault_of(path.removesuffix("/"))):
                return _Kind(kind=_Kind.KIND_ABSENT)
            file = serving.find_file(cursor, where, path) if path else None
            if file is not None:
                return self._describe(cursor, file)
            index = self._indexes.find(cursor, where, path)
            if index is not None:
                blob, made_at = index
                response = _Kind(
                    kind=_Kind.KIND_STORED,
                    sha256=blob.hex,
                    size_bytes=blob.size_bytes,
                    media_type="text/plain; charset=utf-8",
                )
                _set_time(response.time, made_at)
                return response
            if self._indexes.has(cursor, where, path):
                return _Kind(kind=_Kind.KIND_FETCHABLE, size_bytes=-1)
            folder = path.removesuffix("/")
            if folders.is_folder(cursor, where, folder) or self._indexes.paths(
                cursor, where, folder
            ):
                return _Kind(kind=_Kind.KIND_FOLDER)
        return _Kind(kind=_Kind.KIND_ABSENT)

    def ListFolder(
        self, request: serving_service_pb2.ListFolderRequest, context: grpc.ServicerContext
    ) -> Iterator[serving_service_pb2.ListFolderResponse]:
        folder = request.path.strip("/")
        with self._database.transaction() as cursor:
            where = serving.find_set(cursor, request.content_set)
            if where is None or (folder and fault_of(folder)):
                raise _not_found(request.path)
            generated = self._indexes.paths(cursor, where, folder)
        found = False
        for batch in folders.entries(self._database, where, folder, generated):
            found = True
            response = serving_service_pb2.ListFolderResponse()
            for entry in batch:
                added = response.entries.add(
                    name=entry.name,
                    is_folder=entry.is_folder,
                    size_bytes=0 if entry.is_folder else entry.size_bytes,
                    sha256=entry.digest.hex() if entry.digest else "",
                )
                _set_time(added.time, entry.made_at)
            yield response
        if folder and not found:
            raise _not_found(request.path)

    def FetchFile(
        self, request: serving_service_pb2.FetchFileRequest, context: grpc.ServicerContext
    ) -> serving_service_pb2.FetchFileResponse:
        where, file, is_streamed = self._find(request.content_set, request.path)
        if is_streamed:
            raise FieldInvalidError.at("path", "is a file that is not kept; use StreamFile.")
        blob = self._here(where, file, request.path)
        if blob is None and file is not None and file.content_id is not None:
            blob = self._on_demand.fetch(file.content_id, file.relative_path)
        if blob is None:
            raise _missing(request.path)
        return serving_service_pb2.FetchFileResponse(sha256=blob.hex, size_bytes=blob.size_bytes)

    def StreamFile(
        self, request: serving_service_pb2.StreamFileRequest, context: grpc.ServicerContext
    ) -> Iterator[serving_service_pb2.StreamFileResponse]:
        where, file, is_streamed = self._find(request.content_set, request.path)
        blob = self._here(where, file, request.path)
        if blob is not None:
            yield _stored(blob)
            return
        if file is None or file.content_id is None:
            raise _missing(request.path)
        for part in self._on_demand.stream(
            file.content_id,
            file.relative_path,
            is_kept=not is_streamed,
            when_gone=context.add_callback,
        ):
            if isinstance(part, bytes):
                yield serving_service_pb2.StreamFileResponse(chunk=part)
            else:
                yield _stored(part)

    def WatchPointers(
        self, request: serving_service_pb2.WatchPointersRequest, context: grpc.ServicerContext
    ) -> Iterator[serving_service_pb2.WatchPointersResponse]:
        with self._watch.follow() as changed:
            # What changed before is not told.
            yield serving_service_pb2.WatchPointersResponse(all=True)
            while context.is_active() and not self._watch.is_closed:
                base_paths = changed(_LOOK_SECONDS)
                if base_paths:
                    yield serving_service_pb2.WatchPointersResponse(base_paths=sorted(base_paths))

    def ListBasePaths(
        self, request: serving_service_pb2.ListBasePathsRequest, context: grpc.ServicerContext
    ) -> serving_service_pb2.ListBasePathsResponse:
        with self._database.transaction() as cursor:
            found = serving.base_paths(cursor)
        return serving_service_pb2.ListBasePathsResponse(base_paths=found)

    def ListServedVersions(
        self, request: serving_service_pb2.ListServedVersionsRequest, context: grpc.ServicerContext
    ) -> Iterator[serving_service_pb2.ListServedVersionsResponse]:
        for batch in version_choice.offered(self._database, request.distribution):
            response = serving_service_pb2.ListServedVersionsResponse()
            for version in batch:
                added = response.versions.add(
                    number=version.number,
                    unit_count=version.unit_count,
                    added=version.added,
                    removed=version.removed,
                )
                _set_time(added.create_time, version.created_at)
            yield response

    def _here(self, where: ContentSet, file: ServedFile | None, path: str) -> Blob | None:
        """The blob of a file that needs no upstream; None if its bytes are not here."""
        if file is None:
            blob = self._indexes.make(where, path)
            if self._on_demand.discard_lost(blob):
                blob = self._indexes.make(where, path)
            return blob
        if not file.is_stored or file.digest is None:
            return None
        blob = Blob(file.digest, file.size_bytes)
        return None if self._on_demand.discard_lost(blob) else blob

    def _find(self, content_set: str, path: str) -> tuple[ContentSet, ServedFile | None, bool]:
        with self._database.transaction() as cursor:
            where = serving.find_set(cursor, content_set)
            if where is None or fault_of(path):
                raise _not_found(path)
            file = serving.find_file(cursor, where, path)
            return where, file, file is not None and _is_streamed(cursor, file)

    def _describe(
        self, cursor: Cursor, file: ServedFile
    ) -> serving_service_pb2.ResolvePathResponse:
        response = _Kind(
            kind=_Kind.KIND_STORED,
            sha256=file.digest.hex() if file.digest else "",
            size_bytes=file.size_bytes,
            media_type=file.media_type,
        )
        _set_time(response.time, file.made_at)
        if not file.is_stored:
            is_streamed = _is_streamed(cursor, file)
            response.kind = _Kind.KIND_STREAMED if is_streamed else _Kind.KIND_FETCHABLE
        return response


def _select(
    cursor: Cursor, pointer: Pointer, response: serving_service_pb2.ResolvePointerResponse
) -> None:
    response.base_path = f"{pointer.base_path}@{pointer.selector}"
    response.is_selected = True
    if not pointer.selector:
        response.asks_for_versions = True
        return
    choice = version_choice.choose(cursor, pointer)
    response.content_set = choice.content_set
    response.is_immutable = choice.is_immutable
    response.fault = choice.fault
    response.is_gone = choice.is_gone
    _set_time(response.time, choice.made_at)


def _is_streamed(cursor: Cursor, file: ServedFile) -> bool:
    if file.is_stored or file.content_id is None:
        return False
    # Without a digest nobody could say later that the kept bytes are the right ones.
    if not file.is_verifiable:
        return True
    return sources.policy(cursor, file.content_id, file.relative_path) == "streamed"


def _stored(blob: Blob) -> serving_service_pb2.StreamFileResponse:
    return serving_service_pb2.StreamFileResponse(
        stored=serving_service_pb2.StoredFile(sha256=blob.hex, size_bytes=blob.size_bytes)
    )


def _not_found(path: str) -> PathNotFoundError:
    return PathNotFoundError(f"Nothing is at {path}.", metadata={"path": path})


def _missing(path: str) -> BlobMissingError:
    return BlobMissingError(
        f"The generated file {path} is not stored any more. Publish again.",
        metadata={"unit": path},
    )


def _set_time(target: timestamp_pb2.Timestamp, moment: datetime | None) -> None:
    if moment is not None:
        target.FromDatetime(moment)
