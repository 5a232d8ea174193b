"""graph/mischiefs and graph/pushes: a servicer that breaks the contract, below the SDK's feet."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue

from entrepot.core.v1.workspace_service_pb2 import OpenWorkspaceRequest, StageChangesRequest
from entrepot.core.v1.workspace_service_pb2_grpc import WorkspaceServiceStub
from entrepot.plugin.v1.plugin_tasks_pb2 import (
    Completed,
    ExecuteRequest,
    ExecuteResponse,
    Failed,
    Heartbeat,
)
from entrepot.type.v1.content_pb2 import ContentUnit
from entrepot_rpc.channel import metadata
from entrepot_rpc.errors import Code, ServiceError, plugin_domain
from entrepot_rpc.status import to_grpc_status, to_status
from entrepot_sdk import artifact
from entrepot_sdk._servicer import Servicer
from entrepot_sdk.plugin import Plugin
from entrepot_test_graph.graph_pb2 import Leaf, Mischief, Push

TASK_TYPES: dict[str, type[Mischief | Push]] = {"graph/mischiefs": Mischief, "graph/pushes": Push}
BIG = 1500

COMPLETED = ExecuteResponse(completed=Completed())


class NaughtyServicer(Servicer):
    """Behaves, but for two task types."""

    def __init__(self, plugin: Plugin, core: grpc.aio.Channel) -> None:
        super().__init__(plugin, core)
        self._workspace = WorkspaceServiceStub(core)
        self._refused: Counter[str] = Counter()

    async def Execute(
        self, request: ExecuteRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[ExecuteResponse]:
        parameters_type = TASK_TYPES.get(request.task_type)
        if parameters_type is None:
            async for event in super().Execute(request, context):
                yield event
            return
        parameters = parameters_type()
        request.parameters.Unpack(parameters)
        kind = parameters.kind
        if parameters.times and request.attempt > parameters.times:
            kind = Mischief.KIND_UNSPECIFIED
        if kind == Mischief.KIND_REFUSE and self.may_refuse(request.task, parameters.times):
            await context.abort_with_status(
                to_grpc_status(error(Code.RESOURCE_EXHAUSTED, retry_after_seconds=0.1))
            )
        yield ExecuteResponse(heartbeat=Heartbeat())
        try:
            async for event in self.misbehave(kind, request):
                yield event
        except grpc.aio.AioRpcError as refused:
            await context.abort(refused.code(), refused.details() or "")
        if kind == Mischief.KIND_BREAK_STREAM:
            await context.abort_with_status(to_grpc_status(error(Code.UNAVAILABLE)))

    def may_refuse(self, task: str, times: int) -> bool:
        """Say whether the task has not been refused often enough; core does not count these."""
        self._refused[task] += 1
        return not times or self._refused[task] <= times

    async def misbehave(
        self, kind: Mischief.Kind.ValueType, request: ExecuteRequest
    ) -> AsyncIterator[ExecuteResponse]:
        """Do the mischief; the events are what core hears of it."""
        token = request.attempt_token
        call = metadata(token, "Attempt")
        await self._workspace.OpenWorkspace(OpenWorkspaceRequest(), metadata=call)
        match kind:
            case Mischief.KIND_TWO_VERDICTS:
                await self.stage(token, leaf("mischief"))
                yield COMPLETED
                yield COMPLETED
            case Mischief.KIND_NO_VERDICT | Mischief.KIND_BREAK_STREAM:
                await self.stage(token, leaf("mischief"))
            case Mischief.KIND_FOREIGN_TOKEN:
                await self.stage("of-somebody-else", leaf("mischief"))
                yield COMPLETED
            case Mischief.KIND_SILENCE:
                await asyncio.Event().wait()
            case Mischief.KIND_FAIL_RETRYABLE | Mischief.KIND_FAIL:
                await self.stage(token, leaf("mischief"))
                status = to_status(error(Code.UNAVAILABLE))
                retryable = kind == Mischief.KIND_FAIL_RETRYABLE
                yield ExecuteResponse(failed=Failed(status=status, retryable=retryable))
            case Mischief.KIND_CRASH:
                os._exit(1)
            case Mischief.KIND_CRASH_AFTER_STAGING:
                await self.stage(token, leaf("mischief"))
                os._exit(1)
            case Mischief.KIND_EVIL_PATH:
                await self.stage(token, leaf("mischief", "../../etc/passwd"))
                yield COMPLETED
            case Mischief.KIND_BIG_BATCH:
                await self.stage(token, *(leaf(f"mischief-{n}") for n in range(BIG)))
                yield COMPLETED
            case Mischief.KIND_REUSE_SEQUENCE:
                await self.stage(token, leaf("mischief-1"))
                await self.stage(token, leaf("mischief-2"))
                yield COMPLETED
            case Mischief.KIND_WRONG_RESULT:
                completed = Completed()
                completed.result.Pack(StringValue(value="surprise"))
                yield ExecuteResponse(completed=completed)
            case Mischief.KIND_WRONG_CONTENT_TYPE:
                await self.stage(token, packed(StringValue(value="surprise")))
                yield COMPLETED
            case Mischief.KIND_WRONG_ROLE:
                await self.stage(token, leaf("mischief"), role="remote")
                yield COMPLETED
            case _:
                await self.stage(token, leaf("mischief"))
                yield COMPLETED

    async def stage(self, token: str, *units: ContentUnit, role: str = "repository") -> None:
        """Stage a batch, always under the same sequence."""
        batch = StageChangesRequest(repository_role=role, sequence=1, adds=units)
        await self._workspace.StageChanges(batch, metadata=metadata(token, "Attempt"))


def leaf(name: str, path: str = "") -> ContentUnit:
    """Return a leaf, with a file if a path is given."""
    unit = packed(Leaf(name=name))
    if path:
        unit.artifacts.append(artifact(path, url="https://example.org/evil"))
    return unit


def packed(attributes: Message) -> ContentUnit:
    """Return a unit of these attributes."""
    unit = ContentUnit()
    unit.attributes.Pack(attributes, deterministic=True)
    return unit


def error(code: Code, retry_after_seconds: float | None = None) -> ServiceError:
    """Return the error of a mischief."""
    return ServiceError.of(
        code,
        "MISCHIEF",
        "This is mischief.",
        domain=plugin_domain("graph"),
        retry_after_seconds=retry_after_seconds,
    )
