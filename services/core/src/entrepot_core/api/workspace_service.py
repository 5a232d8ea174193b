"""WorkspaceService: what an attempt may read and stage. Its token says which attempt it is."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from entrepot.core.v1 import workspace_service_pb2 as pb
from entrepot.core.v1 import workspace_service_pb2_grpc
from entrepot_core.api.authentication import attempt_token
from entrepot_core.api.content_message import decode_units, encode_unit, number_types
from entrepot_core.api.named_resource import next_token, read_position
from entrepot_core.domain.blob import parse_digest
from entrepot_core.domain.errors import (
    AttemptSupersededError,
    BatchTooLargeError,
    FieldInvalidError,
    PermissionDeniedError,
    ResourceNotFoundError,
    UnauthenticatedError,
)
from entrepot_core.domain.paths import check_path
from entrepot_core.plugins.filtering import condition_of
from entrepot_core.plugins.units import parse_key, parse_unit_name
from entrepot_core.store import content, content_types, lending, staged_files, staging, workspaces
from entrepot_core.store.content import Condition, VersionRange
from entrepot_core.store.staged_files import StagedFile
from entrepot_rpc.failpoints import failpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    import grpc
    from google.protobuf import any_pb2

    from entrepot_core.plugins.catalog import Catalog
    from entrepot_core.plugins.registry import Registry
    from entrepot_core.plugins.units import UnitKey
    from entrepot_core.store.content import ContentRow
    from entrepot_core.store.database import Cursor, Database
    from entrepot_core.store.workspaces import Workspace

__all__ = ["MAX_BATCH_BYTES", "MAX_UNITS", "WorkspaceService", "check_batch", "workspace_of"]

MAX_UNITS = 1_000
MAX_BATCH_BYTES = 2 * 1024**2

_READ_BATCH = 500
_MAX_NAMES = 1_000


def workspace_of(database: Database, context: grpc.ServicerContext) -> Workspace:
    """The attempt that calls. Raises UnauthenticatedError, AttemptSupersededError."""
    token = attempt_token(context)
    if token is None:
        raise UnauthenticatedError(
            "This is for attempts: send the token as `authorization: Attempt <token>`."
        )
    with database.transaction() as cursor:
        workspace = workspaces.find(cursor, hashlib.sha256(token.encode()).digest())
    if workspace is None:
        raise AttemptSupersededError("No attempt has this token now: it is over.")
    return workspace


class WorkspaceService(workspace_service_pb2_grpc.WorkspaceServiceServicer):
    """See workspace_service.proto."""

    def __init__(self, database: Database, registry: Registry) -> None:
        self._database = database
        self._registry = registry

    def OpenWorkspace(
        self, request: pb.OpenWorkspaceRequest, context: grpc.ServicerContext
    ) -> pb.OpenWorkspaceResponse:
        workspace = workspace_of(self._database, context)
        return pb.OpenWorkspaceResponse(
            task=f"tasks/{workspace.task_id}", attempt=workspace.attempt
        )

    def ReadContent(
        self, request: pb.ReadContentRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.ReadContentResponse]:
        workspace = workspace_of(self._database, context)
        catalog = self._registry.catalog()
        (after,) = read_position(request.cursor, (int,)) or (0,)
        if request.WhichOneof("selection") == "names":
            yield from self._read_names(workspace, catalog, request, after)
            return
        with self._database.transaction() as cursor:
            version = self._version(cursor, workspace, request.version)
            condition = self._condition(cursor, catalog, request)
        while True:
            with self._database.transaction() as cursor:
                # A superseded attempt reads no further.
                workspaces.check(cursor, workspace.workspace_id)
                rows = content.read_version(cursor, version, condition, after, _READ_BATCH)
                if rows and not request.attributes_only:
                    rows = content.with_details(cursor, rows, version)
            if rows:
                after = rows[-1].content_id
                yield _batch(catalog, rows, attributes_only=request.attributes_only)
            if len(rows) < _READ_BATCH:
                return

    def StageChanges(
        self, request: pb.StageChangesRequest, context: grpc.ServicerContext
    ) -> pb.StageChangesResponse:
        workspace = workspace_of(self._database, context)
        count = len(request.adds) + len(request.removes) + len(request.remove_keys)
        check_batch(request, count, request.sequence)
        catalog = self._registry.catalog()
        digest = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
        with self._database.transaction() as cursor:
            repository_id = 0
            if request.repository_role:
                lent = self._lent(cursor, workspace, request.repository_role)
                if not lent.is_writable:
                    raise PermissionDeniedError(
                        f"{request.repository_role} was lent for reading only."
                    )
                repository_id = lent.repository_id
            elif request.removes or request.remove_keys:
                raise FieldInvalidError.at("repository_role", "is required for removes.")
            units = decode_units(
                cursor,
                catalog,
                workspace.plugin,
                request.adds,
                lending.lent_remotes(cursor, workspace.workspace_id),
            )
            removes = self._names(cursor, catalog, request.removes, "removes")
            removes += self._keys(cursor, catalog, request.remove_keys, "remove_keys")
            failpoint("stage.locked")
            answer = staging.stage(
                cursor,
                staging.StageRequest(
                    workspace_id=workspace.workspace_id,
                    repository_id=repository_id,
                    sequence=request.sequence,
                    request_digest=digest,
                    units=units,
                    removes=removes,
                    cascade=request.cascade,
                ),
            )
            failpoint("stage.written")
        failpoint("stage.committed", reply=True)
        missing = set(answer.missing_blobs)
        given = {
            value: one
            for unit in (request.adds if missing else ())
            for artifact in unit.artifacts
            for one in artifact.digests
            if one.hex and (value := _sha256(one)) in missing
        }
        return pb.StageChangesResponse(
            units=[
                pb.StageChangesResponse.StagedUnit(name=unit.name, existed=existed)
                for unit, existed in zip(units, answer.existed, strict=True)
            ],
            missing_blobs=[given[value] for value in answer.missing_blobs if value in given],
            cancel_requested=answer.cancel_requested,
        )

    def StageFiles(
        self, request: pb.StageFilesRequest, context: grpc.ServicerContext
    ) -> pb.StageFilesResponse:
        workspace = workspace_of(self._database, context)
        check_batch(request, len(request.files), request.sequence)
        catalog = self._registry.catalog()
        digest = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
        with self._database.transaction() as cursor:
            lent = self._lent(cursor, workspace, request.repository_role)
            files = self._files(cursor, catalog, request.files)
            failpoint("stage.locked")
            seen, cancel_requested = staging.begin_call(
                cursor, workspace.workspace_id, request.sequence, digest
            )
            if seen is None:
                staged_files.stage(
                    cursor,
                    workspace.workspace_id,
                    lent.role,
                    files,
                    hide_version=request.hide_version,
                )
                staging.end_call(cursor, workspace.workspace_id, request.sequence, json.dumps({}))
            failpoint("stage.written")
        failpoint("stage.committed", reply=True)
        return pb.StageFilesResponse(cancel_requested=cancel_requested)

    def _read_names(
        self,
        workspace: Workspace,
        catalog: Catalog,
        request: pb.ReadContentRequest,
        after: int,
    ) -> Iterator[pb.ReadContentResponse]:
        given = request.names.names
        if len(given) > _MAX_NAMES:
            raise BatchTooLargeError(
                f"names.names: {len(given)} names; at most {_MAX_NAMES:,} are allowed."
            )
        if request.filter:
            raise FieldInvalidError.at("filter", "is for versions; names need none.")
        with self._database.transaction() as cursor:
            names = self._names(cursor, catalog, given, "names.names")
            known = content.find_ids(cursor, [(n.type.type_id, n.key_digest) for n in names])
            readable = workspaces.readable(cursor, workspace.workspace_id, list(known.values()))
            ids = []
            for one in names:
                content_id = known.get((one.type.type_id, one.key_digest))
                if content_id is None or content_id not in readable:
                    raise ResourceNotFoundError(
                        f"{one.name} was not lent to this task.", metadata={"resource": one.name}
                    )
                if content_id > after and (
                    not request.content_types or one.type.name in request.content_types
                ):
                    ids.append(content_id)
            rows: Sequence[ContentRow] = content.read_ids(cursor, ids)
            if not request.attributes_only:
                rows = content.with_details(cursor, rows)
        for start in range(0, len(rows), _READ_BATCH):
            yield _batch(
                catalog,
                rows[start : start + _READ_BATCH],
                attributes_only=request.attributes_only,
            )

    def _version(
        self,
        cursor: Cursor,
        workspace: Workspace,
        selection: pb.ReadContentRequest.VersionSelection,
    ) -> VersionRange:
        if not selection.repository_role:
            raise FieldInvalidError.at("version.repository_role", "is required.")
        lent = self._lent(cursor, workspace, selection.repository_role)
        if selection.version not in (0, lent.base_version):
            raise PermissionDeniedError(
                f"Of {selection.repository_role}, version {lent.base_version} was lent and not "
                f"{selection.version}."
            )
        return VersionRange(lent.repository_id, lent.base_version)

    def _condition(
        self, cursor: Cursor, catalog: Catalog, request: pb.ReadContentRequest
    ) -> Condition:
        if not request.content_types:
            if request.filter:
                raise FieldInvalidError.at("filter", "needs exactly one content type.")
            return Condition()
        views = []
        for index, name in enumerate(request.content_types):
            view = catalog.content_type(name)
            if view is None:
                raise FieldInvalidError.at(
                    f"content_types[{index}]", f'there is no content type "{name}".'
                )
            views.append(view)
        types = number_types(cursor, catalog, {view.name for view in views})
        if request.filter:
            if len(views) != 1:
                raise FieldInvalidError.at("filter", "needs exactly one content type.")
            return condition_of(catalog, views[0], types[views[0].name], request.filter)
        return Condition(tuple(one.type_id for one in types.values()))

    @staticmethod
    def _lent(cursor: Cursor, workspace: Workspace, role: str) -> lending.LentRepository:
        lent = lending.lent_repositories(cursor, workspace.workspace_id)
        if role not in lent:
            raise PermissionDeniedError(
                f'No repository was lent as "{role}"; there are '
                f"{', '.join(sorted(lent)) or 'none'}."
            )
        return lent[role]

    @staticmethod
    def _names(
        cursor: Cursor, catalog: Catalog, names: Sequence[str], field: str
    ) -> list[staging.UnitName]:
        keys = [
            parse_unit_name(catalog, name, f"{field}[{index}]") for index, name in enumerate(names)
        ]
        return _unit_names(cursor, catalog, keys)

    @staticmethod
    def _keys(
        cursor: Cursor, catalog: Catalog, packed: Sequence[any_pb2.Any], field: str
    ) -> list[staging.UnitName]:
        keys = [parse_key(catalog, key, f"{field}[{index}]") for index, key in enumerate(packed)]
        return _unit_names(cursor, catalog, keys)

    def _files(
        self, cursor: Cursor, catalog: Catalog, files: Sequence[pb.PublishedFile]
    ) -> list[StagedFile]:
        found: dict[str, StagedFile] = {}
        keys = {
            index: parse_unit_name(catalog, file.artifact.unit, f"files[{index}].artifact.unit")
            for index, file in enumerate(files)
            if file.WhichOneof("source") == "artifact"
        }
        types = content_types.by_name(cursor, {key.content_type for key in keys.values()})
        known = content.find_ids(
            cursor,
            [
                (types[key.content_type].type_id, key.digest)
                for key in keys.values()
                if key.content_type in types
            ],
        )
        for index, file in enumerate(files):
            where = f"files[{index}]"
            path = check_path(file.path)
            if path in found:
                raise FieldInvalidError.at(f"{where}.path", f'"{path}" is given twice.')
            digest: bytes | None = None
            content_id: int | None = None
            relative_path: str | None = None
            if index in keys:
                content_type = types.get(keys[index].content_type)
                if content_type is not None:
                    content_id = known.get((content_type.type_id, keys[index].digest))
                relative_path = file.artifact.relative_path
                if content_id is None or not staged_files.has_artifact(
                    cursor, content_id, relative_path
                ):
                    raise ResourceNotFoundError(
                        f'{where}.artifact: there is no file "{relative_path}" of '
                        f"{file.artifact.unit}.",
                        metadata={"resource": file.artifact.unit},
                    )
            else:
                digest = _sha256(file.blob)
                if digest is None:
                    raise FieldInvalidError.at(
                        f"{where}.blob", "a SHA-256 is needed, or an artifact."
                    )
            found[path] = StagedFile(path, digest, content_id, relative_path, file.media_type)
        return list(found.values())


def _unit_names(
    cursor: Cursor, catalog: Catalog, keys: Sequence[UnitKey]
) -> list[staging.UnitName]:
    types = number_types(cursor, catalog, {key.content_type for key in keys})
    return [staging.UnitName(types[key.content_type], key.digest) for key in keys]


def _batch(
    catalog: Catalog, rows: Sequence[ContentRow], *, attributes_only: bool
) -> pb.ReadContentResponse:
    return pb.ReadContentResponse(
        units=[encode_unit(catalog, row, attributes_only=attributes_only) for row in rows],
        cursor=next_token((rows[-1].content_id,)),
    )


def check_batch(request: Any, count: int, sequence: int) -> None:  # noqa: ANN401  either request
    """Raises FieldInvalidError or BatchTooLargeError for what cannot be staged at once."""
    if sequence <= 0:
        raise FieldInvalidError.at("sequence", "must be greater than zero.")
    if count > MAX_UNITS:
        raise BatchTooLargeError(
            f"The batch has {count:,} units or files; at most {MAX_UNITS:,} are allowed."
        )
    size = request.ByteSize()
    if size > MAX_BATCH_BYTES:
        raise BatchTooLargeError(
            f"The batch is {size:,} bytes long; at most {MAX_BATCH_BYTES:,} are allowed."
        )


def _sha256(digest: Any) -> bytes | None:  # noqa: ANN401  a digest message
    if digest.algorithm != digest.ALGORITHM_SHA256:
        return None
    return parse_digest("sha256", digest.hex, "digest")
