"""What an attempt may call, with its token, from inside of a plugin that a test scripts."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.protobuf.message import Message

from core_under_test import Core, errors_of_core, pack
from entrepot.core.v1 import (
    blob_service_pb2,
    blob_service_pb2_grpc,
    task_service_pb2,
    workspace_service_pb2,
    workspace_service_pb2_grpc,
)
from entrepot.plugin.v1 import plugin_tasks_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot.type.v1 import content_pb2, digest_pb2
from fake_plugin import FakePlugin, completed

Task = task_service_pb2.Task
Read = workspace_service_pb2.ReadContentRequest
Stage = workspace_service_pb2.StageChangesRequest
SYNC = file_pb2.Sync(repository="foo", remote="bar")


class Session:
    """What an attempt calls, with its token."""

    def __init__(self, core: Core, token: str) -> None:
        self.workspace = workspace_service_pb2_grpc.WorkspaceServiceStub(core.channel)
        self.blobs = blob_service_pb2_grpc.BlobServiceStub(core.channel)
        self.metadata: tuple[tuple[str, str], ...] = (("authorization", f"Attempt {token}"),)
        self.sequence = 0

    def stage(
        self,
        *units: content_pb2.ContentUnit,
        role: str = "repository",
        **fields: Any,  # noqa: ANN401  of the request
    ) -> workspace_service_pb2.StageChangesResponse:
        """Stages a batch."""
        self.sequence += 1
        request = Stage(repository_role=role, adds=units, **{"sequence": self.sequence, **fields})
        with errors_of_core():
            return self.workspace.StageChanges(request, metadata=self.metadata, timeout=60)

    def read(self, **fields: Any) -> list[content_pb2.ContentUnit]:  # noqa: ANN401  as above
        """Reads units."""
        with errors_of_core():
            answers = self.workspace.ReadContent(
                Read(**fields), metadata=self.metadata, timeout=60
            )
            return [unit for answer in answers for unit in answer.units]

    def write(self, data: bytes) -> digest_pb2.Digest:
        """Writes a blob."""
        request = blob_service_pb2.BatchWriteBlobsRequest()
        request.items.add(data=data)
        with errors_of_core():
            answer = self.blobs.BatchWriteBlobs(request, metadata=self.metadata, timeout=60)
        return answer.results[0].blob


def a_file(path: str, text: str = "") -> content_pb2.ContentUnit:
    """A file with these bytes."""
    data = (text or path).encode()
    digest = hashlib.sha256(data).hexdigest()
    unit = content_pb2.ContentUnit(
        attributes=pack(file_pb2.File(relative_path=path, sha256=digest, size_bytes=len(data)))
    )
    unit.artifacts.add(
        relative_path=path,
        digests=[
            digest_pb2.Digest(
                algorithm=digest_pb2.Digest.ALGORITHM_SHA256, hex=digest, size_bytes=len(data)
            )
        ],
    )
    return unit


def run(
    core: Core,
    plugin: FakePlugin,
    work: Callable[[Session], object],
    parameters: Message = SYNC,
    *,
    dry_run: bool = False,
) -> Task:
    """A task whose attempt does this work."""
    errors: list[BaseException] = []

    def execute(
        request: plugin_tasks_pb2.ExecuteRequest, _context: grpc.ServicerContext
    ) -> Iterator[plugin_tasks_pb2.ExecuteResponse]:
        try:
            work(Session(core, request.attempt_token))
        except BaseException as error:  # noqa: BLE001  the test shows it
            errors.append(error)
        yield completed()

    plugin.execute = execute
    task = core.create(parameters, wait=30, dry_run=dry_run)
    if errors:
        raise errors[0]
    return task
