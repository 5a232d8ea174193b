"""The three calls core makes: Describe, Validate, Execute."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import structlog

from entrepot.plugin.v1.plugin_tasks_pb2 import ExecuteResponse, Failed, ValidateResponse
from entrepot.plugin.v1.plugin_tasks_pb2_grpc import PluginTasksServicer
from entrepot_rpc import correlation, tracing
from entrepot_rpc.errors import Code, ServiceError, Violation, plugin_domain
from entrepot_rpc.status import to_grpc_status, to_status
from entrepot_sdk._attempt import Attempt
from entrepot_sdk._describe import describe
from entrepot_sdk.diagnostic import error as error_diagnostic
from entrepot_sdk.diagnostic import missing_fields
from entrepot_sdk.resource import Resources

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc.aio

    from entrepot.plugin.v1.describe_pb2 import DescribeRequest, DescribeResponse
    from entrepot.plugin.v1.plugin_tasks_pb2 import ExecuteRequest, ValidateRequest
    from entrepot_sdk.plugin import Plugin, TaskType

__all__ = ["Servicer"]

log = structlog.get_logger()

_VALIDATE_SECONDS = 9.0
_RETRY_SECONDS = 1.0


class Servicer(PluginTasksServicer):
    """Serves one plugin.

    Args:
        plugin: What is served.
        core: Channel on which attempts call back.
    """

    def __init__(self, plugin: Plugin, core: grpc.aio.Channel) -> None:
        self._plugin = plugin
        self._core = core
        self._description = describe(plugin)
        self._domain = plugin_domain(plugin.name)
        # Attempts whose author code runs, and of these the ones that core still listens to.
        self._attempts: set[Attempt] = set()
        self._heard: set[Attempt] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_draining = False

    async def Describe(
        self, request: DescribeRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> DescribeResponse:
        """What the plugin is."""
        return self._description

    async def Validate(
        self, request: ValidateRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> ValidateResponse:
        """What is wrong with a request."""
        origin = context.invocation_metadata()
        correlation.enter(correlation.incoming(origin))
        with tracing.continued("plugin Validate", tracing.incoming(origin)):
            return await self._validate(request, context)

    async def _validate(
        self, request: ValidateRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> ValidateResponse:
        task_type = self._plugin.task_type(request.task_type)
        if task_type is None:
            await context.abort_with_status(to_grpc_status(self._unknown(request.task_type)))
        try:
            async with asyncio.timeout(_VALIDATE_SECONDS):
                return await asyncio.to_thread(_validate, task_type, request)
        except Exception:
            log.exception("validate.fault", task_type=request.task_type)
            await context.abort_with_status(
                to_grpc_status(
                    ServiceError.of(
                        Code.INTERNAL,
                        "PLUGIN_FAULT",
                        f"The plugin {self._plugin.name} could not check the request.",
                        domain=self._domain,
                    )
                )
            )

    async def Execute(
        self, request: ExecuteRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[ExecuteResponse]:
        """One attempt, as a stream of events."""
        origin = context.invocation_metadata()
        # For good: every call has a context of its own.
        correlation.enter(
            correlation.incoming(origin),
            task=request.task.removeprefix("tasks/"),
            attempt=request.attempt,
        )
        with tracing.continued("plugin Execute", tracing.incoming(origin)):
            async for event in self._execute(request, context):
                yield event

    async def _execute(
        self, request: ExecuteRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[ExecuteResponse]:
        refusal = self._refusal()
        if refusal is not None:
            await context.abort_with_status(to_grpc_status(refusal))
        task_type = self._plugin.task_type(request.task_type)
        if task_type is None:
            status = to_status(self._unknown(request.task_type))
            yield ExecuteResponse(failed=Failed(status=status))
            return
        attempt = Attempt(self._plugin, task_type, request, self._core, self._ended)
        self._attempts.add(attempt)
        self._heard.add(attempt)
        self._idle.clear()
        # However the stream ends: this function is not always told.
        # (The stubs have a class where any callable will do.)
        context.add_done_callback(lambda _: attempt.abandon())  # type: ignore[arg-type]
        try:
            async with contextlib.aclosing(attempt.events()) as events:
                async for event in events:
                    yield event
        except ServiceError as error:
            await context.abort_with_status(to_grpc_status(error))
        finally:
            self._heard.discard(attempt)
            if not self._heard:
                self._idle.set()

    def drain(self) -> None:
        """Takes no more attempts; those that run go on."""
        self._is_draining = True

    async def wait_idle(self, seconds: float) -> None:
        """Returns when core listens to no attempt any more, or after this time."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            log.warning("drain.incomplete", attempts=len(self._heard))

    def stop_all(self) -> None:
        """Ends every attempt; core repeats them elsewhere."""
        for attempt in list(self._heard):
            attempt.stop(self._draining())

    def _ended(self, attempt: Attempt) -> None:
        self._attempts.discard(attempt)

    def _refusal(self) -> ServiceError | None:
        if self._is_draining:
            return self._draining()
        if len(self._attempts) >= self._plugin.max_concurrent_attempts:
            return ServiceError.of(
                Code.RESOURCE_EXHAUSTED,
                "PLUGIN_FULL",
                f"The plugin {self._plugin.name} works on "
                f"{self._plugin.max_concurrent_attempts} tasks already, as many as it takes.",
                domain=self._domain,
                retry_after_seconds=_RETRY_SECONDS,
            )
        return None

    def _draining(self) -> ServiceError:
        return ServiceError.of(
            Code.UNAVAILABLE,
            "PLUGIN_DRAINING",
            f"This process of the plugin {self._plugin.name} is about to end.",
            domain=self._domain,
            retry_after_seconds=_RETRY_SECONDS,
        )

    def _unknown(self, task_type: str) -> ServiceError:
        return ServiceError.of(
            Code.INVALID_ARGUMENT,
            "TASK_TYPE_UNKNOWN",
            f"The plugin {self._plugin.name} has no task type {task_type!r}.",
            domain=self._domain,
            metadata={"task_type": task_type},
            violations=(Violation("task_type", "There is no such type.", "TASK_TYPE_UNKNOWN"),),
        )


def _validate(task_type: TaskType[Any], request: ValidateRequest) -> ValidateResponse:
    """Checks required fields, then what the author does; defaults that were filled in go back."""
    parameters = task_type.parameters()
    if not request.parameters.Unpack(parameters):
        expected = parameters.DESCRIPTOR.full_name
        wrong = error_diagnostic(
            "PARAMETERS_MISMATCH", f"{request.task_type} takes a {expected}.", "parameters"
        )
        return ValidateResponse(diagnostics=[wrong])
    before = parameters.SerializeToString(deterministic=True)
    found = list(missing_fields(parameters))
    if not found and task_type.validate is not None:
        found.extend(task_type.validate(parameters, Resources(request.resources)))
    response = ValidateResponse(diagnostics=found)
    if before != parameters.SerializeToString(deterministic=True):
        response.normalized_parameters.Pack(parameters, deterministic=True)
    return response
