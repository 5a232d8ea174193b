"""RepositoryService: repositories and their versions. Nothing here changes content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from entrepot.core.v1 import repository_service_pb2 as pb
from entrepot.core.v1 import repository_service_pb2_grpc
from entrepot.plugin.v1 import describe_pb2
from entrepot_core.api.named_resource import (
    NamedResource,
    check_text,
    next_token,
    notify_pointers,
    read_position,
    timestamp,
)
from entrepot_core.api.paging import page_size
from entrepot_core.domain.errors import BatchTooLargeError, FieldInvalidError
from entrepot_core.domain.names import version_name
from entrepot_core.plugins.descriptors import pack_bytes
from entrepot_core.store import content, limits, lookup, repositories, retention, versions
from entrepot_core.store.intervals import CURRENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc
    from google.protobuf import any_pb2

    from entrepot_core.api.creation_requests import CreationRequests
    from entrepot_core.plugins.registry import Registry
    from entrepot_core.store.database import Cursor, Database
    from entrepot_core.store.repositories import RepositoryRow
    from entrepot_core.store.retention import OriginRow
    from entrepot_core.store.versions import VersionRow

__all__ = ["RepositoryService", "change_message", "repository_message", "version_message"]

_FIELDS = ("description", "labels", "retain_versions")
_MAX_RETAINED = 1_000_000
_MAX_PATHS = 1_000
_Kind = pb.CompareVersionsResponse.Change


class RepositoryService(repository_service_pb2_grpc.RepositoryServiceServicer):
    """See repository_service.proto."""

    def __init__(self, database: Database, registry: Registry, requests: CreationRequests) -> None:
        self._database = database
        self._requests = requests
        self._resource = NamedResource(
            registry,
            describe_pb2.RESOURCE_KIND_REPOSITORY,
            "repositories",
            "repository",
            _FIELDS,
        )

    def CreateRepository(
        self, request: pb.CreateRepositoryRequest, context: grpc.ServicerContext
    ) -> pb.CreateRepositoryResponse:
        values = self._resource.new_name(request.parent, request.repository.name)
        values |= _checked(request.repository)
        values["spec"] = self._resource.new_spec(values["plugin"], request.repository.spec)
        full_name = f"repositories/{values['plugin']}/{values['name']}"
        with self._database.transaction() as cursor:
            if self._requests.earlier(cursor, context, request, full_name):
                row = repositories.get(cursor, full_name)
            else:
                row = repositories.create(cursor, values)
        return pb.CreateRepositoryResponse(repository=self._encode(row))

    def GetRepository(
        self, request: pb.GetRepositoryRequest, context: grpc.ServicerContext
    ) -> pb.GetRepositoryResponse:
        with self._database.transaction() as cursor:
            row = repositories.get(cursor, request.name)
        return pb.GetRepositoryResponse(repository=self._encode(row))

    def ListRepositories(
        self, request: pb.ListRepositoriesRequest, context: grpc.ServicerContext
    ) -> pb.ListRepositoriesResponse:
        wanted = self._resource.page(
            request.parent, request.page_size, request.page_token, request.label
        )
        with self._database.transaction() as cursor:
            rows = repositories.page(cursor, wanted)
        shown = rows[: wanted.size - 1]
        more = len(rows) > len(shown)
        return pb.ListRepositoriesResponse(
            repositories=[self._encode(row) for row in shown],
            next_page_token=next_token((shown[-1].plugin, shown[-1].name)) if more else "",
        )

    def UpdateRepository(
        self, request: pb.UpdateRepositoryRequest, context: grpc.ServicerContext
    ) -> pb.UpdateRepositoryResponse:
        given = request.repository
        own, spec = self._resource.changes(given, request.update_mask.paths)
        checked = _checked(given)
        values = {name: checked[name] for name in own}
        with self._database.transaction() as cursor:
            if spec:
                row = repositories.get(cursor, given.name)
                values["spec"] = self._resource.changed_spec(row, given.spec, spec)
            row = repositories.update(cursor, given.name, values, given.etag)
        if "labels" in own:
            with self._database.transaction() as cursor:
                limits.sort_repository(cursor, given.name)
        if "retain_versions" in own and versions.retain(self._database, row.repository_id):
            with self._database.transaction() as cursor:
                row = repositories.get(cursor, given.name)
        return pb.UpdateRepositoryResponse(repository=self._encode(row))

    def DeleteRepository(
        self, request: pb.DeleteRepositoryRequest, context: grpc.ServicerContext
    ) -> pb.DeleteRepositoryResponse:
        with self._database.transaction() as cursor:
            repositories.delete(cursor, request.name, request.etag)
        return pb.DeleteRepositoryResponse()

    def GetVersion(
        self, request: pb.GetVersionRequest, context: grpc.ServicerContext
    ) -> pb.GetVersionResponse:
        with self._database.transaction() as cursor:
            repository, version = versions.get(cursor, request.name)
            (message,) = _messages(cursor, repository.full_name, [version])
        return pb.GetVersionResponse(version=message)

    def ListVersions(
        self, request: pb.ListVersionsRequest, context: grpc.ServicerContext
    ) -> pb.ListVersionsResponse:
        size = page_size(request.page_size)
        (below,) = read_position(request.page_token, (int,)) or (CURRENT,)
        with self._database.transaction() as cursor:
            repository = repositories.get(cursor, request.parent)
            rows = versions.page(cursor, repository.repository_id, min(below, CURRENT), size + 1)
            shown = _messages(cursor, repository.full_name, rows[:size])
        return pb.ListVersionsResponse(
            versions=shown,
            next_page_token=next_token((shown[-1].number,)) if len(rows) > size else "",
        )

    def DeleteVersion(
        self, request: pb.DeleteVersionRequest, context: grpc.ServicerContext
    ) -> pb.DeleteVersionResponse:
        with self._database.transaction() as cursor:
            versions.delete(cursor, request.name)
        notify_pointers(self._database)
        return pb.DeleteVersionResponse()

    def LookupFiles(
        self, request: pb.LookupFilesRequest, context: grpc.ServicerContext
    ) -> pb.LookupFilesResponse:
        if len(request.paths) > _MAX_PATHS:
            raise BatchTooLargeError(
                f"paths has {len(request.paths):,} entries; at most {_MAX_PATHS:,} are allowed."
            )
        with self._database.transaction() as cursor:
            repository = repositories.get(cursor, request.repository)
            rows = lookup.files_at(cursor, repository.repository_id, request.paths)
        return pb.LookupFilesResponse(
            files=[
                pb.LookupFilesResponse.File(
                    path=row.path,
                    sha256="" if row.digest is None else row.digest.hex(),
                    size_bytes=row.size_bytes or 0,
                    is_stored=row.is_stored,
                )
                for row in rows
            ]
        )

    def CompareVersions(
        self, request: pb.CompareVersionsRequest, context: grpc.ServicerContext
    ) -> pb.CompareVersionsResponse:
        size = page_size(request.page_size)
        after = read_position(request.page_token, (str, int, int, int))
        with self._database.transaction() as cursor:
            repository, version = versions.get(cursor, request.name)
            base = self._base(cursor, repository, version, request)
            rows = content.compare(
                cursor, repository.repository_id, base, version.number, after, size + 1
            )
        shown = rows[:size]
        return pb.CompareVersionsResponse(
            changes=[change_message(row) for row in shown],
            next_page_token=next_token(shown[-1].position) if len(rows) > size else "",
        )

    @staticmethod
    def _base(
        cursor: Any,  # noqa: ANN401  a cursor
        repository: RepositoryRow,
        version: VersionRow,
        request: pb.CompareVersionsRequest,
    ) -> int:
        """Number of the version to compare with; -1, as before all, if there is none before."""
        if not request.HasField("base"):
            before = versions.page(cursor, repository.repository_id, version.number, 1)
            return before[0].number if before else -1
        _, base = versions.get(cursor, f"{repository.full_name}/versions/{request.base}")
        return base.number

    def _encode(self, row: RepositoryRow) -> pb.Repository:
        return repository_message(row, self._resource.spec(row))


def repository_message(row: RepositoryRow, spec: any_pb2.Any | None) -> pb.Repository:
    """The message of a repository, with the fields of its plugin."""
    return pb.Repository(
        name=row.full_name,
        plugin=row.plugin,
        description=row.description,
        labels=row.labels,
        retain_versions=row.retain_versions,
        spec=spec,
        latest_version=row.latest,
        unit_count=row.unit_count,
        etag=row.etag,
        create_time=timestamp(row.created_at),
        update_time=timestamp(row.updated_at),
    )


def _checked(repository: pb.Repository) -> dict[str, Any]:
    check_text("repository", repository.description, repository.labels)
    if not 0 <= repository.retain_versions <= _MAX_RETAINED:
        raise FieldInvalidError.at(
            "repository.retain_versions", f"must be from 1 to {_MAX_RETAINED:,}, or 0 for all."
        )
    return {
        "description": repository.description,
        "labels": dict(repository.labels),
        "retain_versions": repository.retain_versions,
    }


def version_message(repository: str, row: VersionRow) -> pb.Version:
    """The message of a version of the repository with this name."""
    return pb.Version(
        name=version_name(repository, row.number),
        number=row.number,
        unit_count=row.unit_count,
        added=row.added,
        removed=row.removed,
        set_digest=row.set_digest.hex(),
        task=f"tasks/{row.task_id}" if row.task_id else "",
        create_time=timestamp(row.created_at),
    )


def _messages(cursor: Cursor, repository: str, rows: Sequence[VersionRow]) -> list[pb.Version]:
    """Versions of a repository, and who had them made."""
    origins = retention.origins(cursor, [row.task_id for row in rows if row.task_id])
    messages = []
    for row in rows:
        message = version_message(repository, row)
        if row.task_id in origins:
            message.created_by.CopyFrom(origin_message(origins[row.task_id]))
        messages.append(message)
    return messages


def origin_message(row: OriginRow) -> pb.Version.Origin:
    """The message of what is known of a task that made something."""
    message = pb.Version.Origin(
        task=f"tasks/{row.task_id}",
        task_type=row.task_type,
        principal=row.principal,
        plugin=row.task_type.partition("/")[0],
        plugin_version=row.plugin_version,
        declaration_digest=row.declaration_digest.hex(),
        parameters=pack_bytes(row.parameters_type, row.parameters),
        cloned_from=f"tasks/{row.cloned_from}" if row.cloned_from else "",
        create_time=timestamp(row.created_at),
    )
    if row.started_at is not None:
        message.start_time.FromDatetime(row.started_at)
    if row.ended_at is not None:
        message.end_time.FromDatetime(row.ended_at)
    return message


def change_message(row: content.Change) -> pb.CompareVersionsResponse.Change:
    """The message of a difference between two versions."""
    if row.old_unit and row.new_unit:
        kind = _Kind.KIND_REPLACED
    else:
        kind = _Kind.KIND_ADDED if row.new_unit else _Kind.KIND_REMOVED
    return _Kind(kind=kind, key=row.key, old_unit=row.old_unit, new_unit=row.new_unit)
