"""A scripted core: it answers a plugin's calls from a scenario, and misbehaves when told to.

It keeps no database and checks no closure; it does check what every plugin owes core: the token,
sequences, limits. Any plugin in any language may be tried against its address.
"""

from __future__ import annotations

import hashlib
import threading
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc
from google.rpc import status_pb2

from entrepot.core.v1 import blob_service_pb2 as blob
from entrepot.core.v1 import workspace_service_pb2 as workspace
from entrepot.core.v1.blob_service_pb2_grpc import (
    BlobServiceServicer,
    add_BlobServiceServicer_to_server,
)
from entrepot.core.v1.workspace_service_pb2_grpc import (
    WorkspaceServiceServicer,
    add_WorkspaceServiceServicer_to_server,
)
from entrepot.plugin.v1.plugin_tasks_pb2 import ValidateRequest
from entrepot.plugin.v1.plugin_tasks_pb2_grpc import PluginTasksStub
from entrepot.type.v1.digest_pb2 import Digest
from entrepot_rpc.channel import connect
from entrepot_rpc.errors import Code, ServiceError
from entrepot_rpc.status import to_grpc_status, to_status
from entrepot_sdk.testing.attempt import Attempt, Call
from entrepot_sdk.testing.execution import Execution
from entrepot_sdk.testing.scenario import pack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import NoReturn, Self

    from entrepot.plugin.v1.plugin_tasks_pb2 import ExecuteRequest, ValidateResponse
    from entrepot_sdk.testing.attempt import Faults
    from entrepot_sdk.testing.execution import Outcome
    from entrepot_sdk.testing.scenario import Scenario

__all__ = ["FakeCore"]

_THREADS = 32
_CHUNK_BYTES = 256 * 1024
_READ_BATCH = 100
_MAX_CHUNK_BYTES = 1 << 20
_MAX_FETCHES = 1000
_HOLD_SECONDS = 60


class FakeCore:
    """Serves WorkspaceService and BlobService on loopback while entered.

    Attributes:
        blobs: The bytes it has, by SHA-256.
        calls_without_attempt: Calls that carried no token it knows.

    Args:
        listen: Where; port 0 takes a free one.
    """

    def __init__(self, listen: str = "127.0.0.1:0") -> None:
        self.blobs: dict[str, bytes] = {}
        self.calls_without_attempt: list[str] = []
        self._attempts: dict[str, Attempt] = {}
        self._fetched: dict[str, str] = {}
        self._lock = threading.Lock()
        self._server = grpc.server(futures.ThreadPoolExecutor(_THREADS))
        add_WorkspaceServiceServicer_to_server(_Workspace(self), self._server)
        add_BlobServiceServicer_to_server(_Blobs(self), self._server)
        self.address = f"{listen.rpartition(':')[0]}:{self._server.add_insecure_port(listen)}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop(None).wait()

    def lend(self, scenario: Scenario, faults: Faults | None = None) -> Attempt:
        """Prepares an attempt; what it lends can be read, and its blobs are there."""
        attempt = Attempt(scenario, faults)
        with self._lock:
            for data in scenario.blobs:
                attempt.readable.add(self.keep(data))
            self._attempts[attempt.token] = attempt
        return attempt

    def validate(
        self, plugin: str, scenario: Scenario, *, seconds: float = 10
    ) -> ValidateResponse:
        """Asks a plugin whether it would take the task."""
        request = ValidateRequest(
            task_type=scenario.task_type,
            parameters=pack(scenario.parameters),
            resources=scenario.resources,
        )
        with connect(plugin) as channel:
            return PluginTasksStub(channel).Validate(request, timeout=seconds)

    def start(self, plugin: str, request: ExecuteRequest, *, seconds: float = 60) -> Execution:
        """Starts an attempt, to be watched."""
        return Execution(plugin, request, seconds)

    def execute(self, plugin: str, request: ExecuteRequest, *, seconds: float = 60) -> Outcome:
        """Runs an attempt to the end of its stream."""
        return self.start(plugin, request, seconds=seconds).outcome(seconds)

    def keep(self, data: bytes) -> str:
        """Has these bytes from now on; returns their SHA-256."""
        sha256 = hashlib.sha256(data).hexdigest()
        self.blobs[sha256] = data
        return sha256

    def forget_fetches(self) -> None:
        """The next fetch of every URL is a first one."""
        self._fetched.clear()

    # --- for the servicers ----------------------------------------------------------------------

    def attempt_of(self, rpc: str, request: Any, context: grpc.ServicerContext) -> Attempt:  # noqa: ANN401  any message
        """The attempt whose token the call carries, or the end of the call."""
        metadata = dict(context.invocation_metadata() or ())
        scheme, _, token = str(metadata.get("authorization", "")).partition(" ")
        attempt = self._attempts.get(token)
        if attempt is None or scheme != "Attempt":
            self.calls_without_attempt.append(rpc)
            _abort(context, Code.UNAUTHENTICATED, "UNAUTHENTICATED", "No such attempt.")
        attempt.record(
            Call(
                rpc,
                getattr(request, "sequence", 0),
                request.SerializeToString(deterministic=True) if request is not None else b"",
            )
        )
        if not attempt.calls or attempt.calls[0].rpc != "OpenWorkspace":
            attempt.violations.append(f"{rpc} came before OpenWorkspace")
        hold = attempt.faults.hold.get(rpc)
        if hold is not None and not hold.is_set():
            _hold(hold, attempt, context)
        attempt.is_superseded |= attempt.faults.supersede_at == rpc
        attempt.cancel_requested |= attempt.faults.cancel_at == rpc
        if attempt.is_superseded:
            _abort(
                context, Code.ABORTED, "ATTEMPT_SUPERSEDED", "Another attempt owns the task now."
            )
        if attempt.faults.end_calls[rpc]:
            attempt.faults.end_calls[rpc] -= 1
            context.abort(grpc.StatusCode.CANCELLED, "As a server says it that ends.")
        if attempt.faults.fail_storage[rpc]:
            attempt.faults.fail_storage[rpc] -= 1
            _abort(context, Code.UNAVAILABLE, "STORAGE_FAILED", "The store for blobs fails.")
        return attempt

    def lose_answer(self, rpc: str, attempt: Attempt, context: grpc.ServicerContext) -> None:
        """Ends the call as if its answer had been lost, if the faults say so."""
        with self._lock:
            if not attempt.faults.lose_answers[rpc]:
                return
            attempt.faults.lose_answers[rpc] -= 1
        _abort(context, Code.UNAVAILABLE, "UNAVAILABLE", "The answer was lost.")

    def break_stream(self, rpc: str, attempt: Attempt, context: grpc.ServicerContext) -> None:
        """Breaks a stream, if the faults say so."""
        with self._lock:
            if not attempt.faults.break_streams[rpc]:
                return
            attempt.faults.break_streams[rpc] -= 1
        _abort(context, Code.UNAVAILABLE, "UNAVAILABLE", "The connection broke.")

    def fetch(
        self, item: blob.FetchBlobsRequest.Item, attempt: Attempt
    ) -> blob.FetchBlobsResponse:
        """Takes the bytes from the scenario, as if an upstream had sent them."""
        source = item.sources[0]
        data = attempt.scenario.upstream.get(source.url)
        roles = {one.role for one in attempt.scenario.resources}
        if source.url.encode() in pack(attempt.scenario.parameters).value:
            roles.add("")
        if source.remote_role not in roles:
            attempt.violations.append(f"FetchBlobs names the role {source.remote_role!r}")
        if data is None:
            error = ServiceError.of(
                Code.NOT_FOUND,
                "DOWNLOAD_FAILED",
                f"{source.url} answered 404.",
                metadata={"url": source.url, "http_status": "404"},
            )
            return blob.FetchBlobsResponse(item_id=item.item_id, status=to_status(error))
        sha256 = self.keep(data)
        attempt.readable.add(sha256)
        last = self._fetched.get(source.url)
        self._fetched[source.url] = sha256
        response = blob.FetchBlobsResponse(
            item_id=item.item_id,
            status=status_pb2.Status(),
            blob=_digest(sha256, len(data)),
            not_modified=last == sha256,
            final_url=source.url,
        )
        if last not in (None, sha256):
            attempt.readable.add(last)
            response.previous.CopyFrom(_digest(last, len(self.blobs[last])))
        return response


class _Workspace(WorkspaceServiceServicer):
    """Accepts what is staged, and says so."""

    def __init__(self, core: FakeCore) -> None:
        self._core = core

    def OpenWorkspace(
        self, request: workspace.OpenWorkspaceRequest, context: grpc.ServicerContext
    ) -> workspace.OpenWorkspaceResponse:
        attempt = self._core.attempt_of("OpenWorkspace", request, context)
        self._core.lose_answer("OpenWorkspace", attempt, context)
        return workspace.OpenWorkspaceResponse(task="tasks/one", attempt=1)

    def ReadContent(
        self, request: workspace.ReadContentRequest, context: grpc.ServicerContext
    ) -> Iterator[workspace.ReadContentResponse]:
        attempt = self._core.attempt_of("ReadContent", request, context)
        content = attempt.scenario.content
        if request.WhichOneof("selection") == "names":
            known = {one.name: one for units in content.values() for one in units}
            units = [known[name] for name in request.names.names if name in known]
        else:
            units = list(content.get(request.version.repository_role, ()))
        for start in range(int(request.cursor or 0), len(units), _READ_BATCH):
            end = start + _READ_BATCH
            yield workspace.ReadContentResponse(units=units[start:end], cursor=str(end))
            self._core.break_stream("ReadContent", attempt, context)

    def StageChanges(
        self, request: workspace.StageChangesRequest, context: grpc.ServicerContext
    ) -> workspace.StageChangesResponse:
        attempt = self._core.attempt_of("StageChanges", request, context)
        _check_batch(
            attempt,
            request,
            len(request.adds) + len(request.removes) + len(request.remove_keys),
            attempt.changes,
            context,
        )
        attempt.changes[request.sequence] = request
        self._core.lose_answer("StageChanges", attempt, context)
        return workspace.StageChangesResponse(
            units=[
                workspace.StageChangesResponse.StagedUnit(name=_name(one.attributes.value))
                for one in request.adds
            ],
            missing_blobs=self._missing(request, attempt),
            cancel_requested=attempt.cancel_requested,
        )

    def StageFiles(
        self, request: workspace.StageFilesRequest, context: grpc.ServicerContext
    ) -> workspace.StageFilesResponse:
        attempt = self._core.attempt_of("StageFiles", request, context)
        _check_batch(attempt, request, len(request.files), attempt.files, context)
        attempt.files[request.sequence] = request
        self._core.lose_answer("StageFiles", attempt, context)
        return workspace.StageFilesResponse(cancel_requested=attempt.cancel_requested)

    def _missing(self, request: workspace.StageChangesRequest, attempt: Attempt) -> list[Digest]:
        known = self._core.blobs.keys() | attempt.lent
        return [
            digest
            for one in request.adds
            for artifact in one.artifacts
            if not artifact.sources
            for digest in artifact.digests
            if digest.algorithm == Digest.ALGORITHM_SHA256 and digest.hex not in known
        ]


class _Blobs(BlobServiceServicer):
    """Keeps bytes in memory."""

    def __init__(self, core: FakeCore) -> None:
        self._core = core

    def FindMissingBlobs(
        self, request: blob.FindMissingBlobsRequest, context: grpc.ServicerContext
    ) -> blob.FindMissingBlobsResponse:
        self._core.attempt_of("FindMissingBlobs", request, context)
        return blob.FindMissingBlobsResponse(
            missing=[one for one in request.digests if one.hex not in self._core.blobs]
        )

    def FetchBlobs(
        self, request: blob.FetchBlobsRequest, context: grpc.ServicerContext
    ) -> Iterator[blob.FetchBlobsResponse]:
        attempt = self._core.attempt_of("FetchBlobs", request, context)
        if len(request.items) > _MAX_FETCHES:
            attempt.violations.append("FetchBlobs with too many items")
        self._core.break_stream("FetchBlobs", attempt, context)
        for item in request.items:
            yield self._core.fetch(item, attempt)

    def ReadBlob(
        self, request: blob.ReadBlobRequest, context: grpc.ServicerContext
    ) -> Iterator[blob.ReadBlobResponse]:
        attempt = self._core.attempt_of("ReadBlob", request, context)
        data = self._core.blobs.get(request.blob.hex)
        if data is None or request.blob.hex not in attempt.readable:
            _abort(context, Code.NOT_FOUND, "BLOB_MISSING", "There is no such blob here.")
        end = request.offset + request.limit if request.limit else len(data)
        for start in range(request.offset, end, _CHUNK_BYTES):
            chunk = data[start : min(end, start + _CHUNK_BYTES)]
            yield blob.ReadBlobResponse(chunk=chunk)
            self._core.break_stream("ReadBlob", attempt, context)

    def WriteBlob(
        self, request_iterator: Iterator[blob.WriteBlobRequest], context: grpc.ServicerContext
    ) -> blob.WriteBlobResponse:
        attempt = self._core.attempt_of("WriteBlob", None, context)
        expected = next(request_iterator).open.expected
        data = bytearray()
        for request in request_iterator:
            if len(request.chunk) > _MAX_CHUNK_BYTES:
                attempt.violations.append("WriteBlob with a chunk of more than 1 MiB")
            data += request.chunk
        digest = self._write(bytes(data), expected, attempt, context)
        return blob.WriteBlobResponse(blob=digest)

    def BatchWriteBlobs(
        self, request: blob.BatchWriteBlobsRequest, context: grpc.ServicerContext
    ) -> blob.BatchWriteBlobsResponse:
        attempt = self._core.attempt_of("BatchWriteBlobs", request, context)
        if request.ByteSize() > attempt.limits.max_batch_bytes:
            attempt.violations.append("BatchWriteBlobs with too many bytes")
        response = blob.BatchWriteBlobsResponse(
            results=[
                blob.BatchWriteBlobsResponse.Result(
                    blob=self._write(item.data, item.expected, attempt, context)
                )
                for item in request.items
            ]
        )
        self._core.lose_answer("BatchWriteBlobs", attempt, context)
        return response

    def _write(
        self, data: bytes, expected: Digest, attempt: Attempt, context: grpc.ServicerContext
    ) -> Digest:
        sha256 = self._core.keep(data)
        if expected.hex and expected.hex != sha256:
            _abort(context, Code.INVALID_ARGUMENT, "DIGEST_MISMATCH", "These are other bytes.")
        attempt.readable.add(sha256)
        return _digest(sha256, len(data))


def _check_batch(
    attempt: Attempt,
    request: Any,  # noqa: ANN401  either kind of batch
    items: int,
    earlier: dict[int, Any],
    context: grpc.ServicerContext,
) -> None:
    """Notes what no plugin may send, and refuses a sequence that was used for something else."""
    size = request.ByteSize()
    if items > attempt.limits.max_units_per_batch or size > attempt.limits.max_batch_bytes:
        attempt.violations.append(f"a batch of {items} items and {size} bytes")
    if request.sequence <= 0:
        attempt.violations.append(f"the sequence {request.sequence}")
    known = earlier.get(request.sequence)
    used = {**attempt.changes, **attempt.files}.get(request.sequence)
    if used is not None and (known is None or known != request):
        attempt.violations.append(f"the sequence {request.sequence} was used for two batches")
        _abort(
            context,
            Code.ALREADY_EXISTS,
            "SEQUENCE_REUSED",
            "The sequence was used for another batch of this attempt.",
        )


def _hold(hold: threading.Event, attempt: Attempt, context: grpc.ServicerContext) -> None:
    """Waits until the call may go on, or the plugin gives it up."""

    def on_end() -> None:
        if not hold.is_set():
            attempt.withdrawn.set()
            hold.set()

    # False: it has ended already.
    if not context.add_callback(on_end):
        on_end()
    hold.wait(_HOLD_SECONDS)


def _abort(context: grpc.ServicerContext, code: Code, reason: str, message: str) -> NoReturn:
    context.abort_with_status(to_grpc_status(ServiceError.of(code, reason, message)))
    raise AssertionError(message)


def _digest(sha256: str, size_bytes: int) -> Digest:
    return Digest(algorithm=Digest.ALGORITHM_SHA256, hex=sha256, size_bytes=size_bytes)


def _name(key: bytes) -> str:
    return f"content/test/units/{hashlib.sha256(key).hexdigest()}"
