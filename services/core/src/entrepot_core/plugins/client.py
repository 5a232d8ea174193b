"""Calling plugins: one channel for each address, errors in our own terms."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from entrepot.plugin.v1 import describe_pb2, plugin_tasks_pb2_grpc
from entrepot_core.domain.errors import (
    PluginContractViolationError,
    PluginUnavailableError,
)
from entrepot_core.plugins import builtin
from entrepot_rpc import correlation
from entrepot_rpc.channel import connect, reason_of_silence
from entrepot_rpc.status import from_rpc_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from entrepot.plugin.v1 import plugin_tasks_pb2
    from entrepot_core.domain.errors import ServiceError

__all__ = ["DESCRIBE_SECONDS", "VALIDATE_SECONDS", "Clients", "PluginClient", "unavailable"]

DESCRIBE_SECONDS = 10.0
VALIDATE_SECONDS = 10.0
_RETRY_SECONDS = 5.0

T = TypeVar("T")

_DOWN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


class PluginClient:
    """Calls the plugin at one address."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.channel = connect(target)
        self._stub = plugin_tasks_pb2_grpc.PluginTasksStub(self.channel)

    def describe(self, patience: float = 0) -> describe_pb2.DescribeResponse:
        """What the plugin says of itself. Raises PluginUnavailableError or its own error.

        Args:
            patience: For how many seconds a plugin that cannot be reached is waited for. A channel
                that once failed connects anew only after up to two seconds: without patience a
                plugin that was started again meanwhile is called dead.
        """
        request = describe_pb2.DescribeRequest(core_version=builtin.version())

        def ask() -> describe_pb2.DescribeResponse:
            return self._call("", lambda: self._stub.Describe(request, timeout=DESCRIBE_SECONDS))

        try:
            return ask()
        except PluginUnavailableError:
            if not patience:
                raise
            try:
                grpc.channel_ready_future(self.channel).result(patience)
            except grpc.FutureTimeoutError:
                pass
            else:
                return ask()
            raise

    def validate(
        self, plugin: str, request: plugin_tasks_pb2.ValidateRequest
    ) -> plugin_tasks_pb2.ValidateResponse:
        """What the plugin thinks of parameters. Raises PluginUnavailableError or its own error."""
        origin = correlation.outgoing()
        return self._call(
            plugin,
            lambda: self._stub.Validate(request, timeout=VALIDATE_SECONDS, metadata=origin),
        )

    def execute(self, request: plugin_tasks_pb2.ExecuteRequest, timeout: float) -> Any:  # noqa: ANN401  grpc's call
        """The stream of one attempt's events; iterate it, or cancel it."""
        return self._stub.Execute(request, timeout=timeout, metadata=correlation.outgoing())

    def close(self) -> None:
        """Ends all calls."""
        self.channel.close()

    def _call(self, plugin: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except grpc.RpcError as error:
            raise translate(error, plugin or self.target) from error


class Clients:
    """The clients of a process, by address, made when first needed."""

    def __init__(self) -> None:
        self._clients: dict[str, PluginClient] = {}
        self._lock = threading.Lock()

    def at(self, target: str) -> PluginClient:
        """The client for an address."""
        with self._lock:
            if target not in self._clients:
                self._clients[target] = PluginClient(target)
            return self._clients[target]

    def close(self) -> None:
        """Ends all calls to all plugins."""
        with self._lock:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()


def translate(error: grpc.RpcError, plugin: str) -> ServiceError:
    """The error of a failed unary call to a plugin."""
    if error.code() in _DOWN:
        return unavailable(plugin, reason_of_silence(error.details()) or "it is not there")
    if error.code() == grpc.StatusCode.UNIMPLEMENTED:
        return PluginContractViolationError(
            f"What answers for the plugin {plugin} is not a plugin: {error.details()}",
            metadata={"plugin": plugin},
        )
    return from_rpc_error(error)


def unavailable(plugin: str, why: str) -> PluginUnavailableError:
    """The error of a plugin that does not answer."""
    return PluginUnavailableError(
        f"The plugin {plugin} does not answer: {why.rstrip('.')}. Start it, or try again later.",
        metadata={"plugin": plugin},
        retry_after_seconds=_RETRY_SECONDS,
    )
