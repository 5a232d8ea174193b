"""Tells core where the plugins of this machine are; core asks each what it can do."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

# Programs are started while calls are under way; gRPC's own care for forks would only complain.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from entrepot.core.v1 import plugin_service_pb2, plugin_service_pb2_grpc
from entrepot_cli.outcome import StartError
from entrepot_rpc.channel import connect, metadata
from entrepot_rpc.errors import Code, ServiceError
from entrepot_rpc.status import from_rpc_error

HEALTH_SECONDS = 60.0
# Core asks the plugin before it answers, and the plugin may still be warming up.
CALL_SECONDS = 30.0


class RegistrationError(StartError):
    """Core does not take the plugin, or does not answer; the message is core's."""

    def __init__(self, error: ServiceError) -> None:
        super().__init__(error.message)
        # The same call may succeed later.
        self.is_passing = error.code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED)


@dataclass(frozen=True, slots=True)
class Registered:
    """What core learned: the plugin's name, what is wrong with it if anything, its tasks."""

    name: str
    message: str
    task_types: tuple[str, ...]


class Registrar:
    """Registers plugins with one core. Threads may share it."""

    def __init__(self, target: str, token: str) -> None:
        self._channel = connect(target)
        self._metadata = metadata(token)

    def wait_for_core(self) -> None:
        """Return once core says that it serves."""
        request = health_pb2.HealthCheckRequest()
        stub = health_pb2_grpc.HealthStub(self._channel)
        with self._told():
            stub.Check(request, timeout=HEALTH_SECONDS, wait_for_ready=True)  # type: ignore[attr-defined]

    def register(self, name: str, target: str) -> Registered:
        """Give the plugin of this name its address, and register it if core does not know it."""
        stub = plugin_service_pb2_grpc.PluginServiceStub(self._channel)
        plugin = plugin_service_pb2.Plugin(name=f"plugins/{name}", target=target)
        with self._told():
            try:
                plugin = stub.UpdatePlugin(
                    plugin_service_pb2.UpdatePluginRequest(plugin=plugin),
                    metadata=self._metadata,
                    timeout=CALL_SECONDS,
                    wait_for_ready=True,
                ).plugin
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.NOT_FOUND:
                    raise
                plugin = stub.CreatePlugin(
                    plugin_service_pb2.CreatePluginRequest(plugin=plugin),
                    metadata=self._metadata,
                    timeout=CALL_SECONDS,
                    wait_for_ready=True,
                ).plugin
        types = (f"{name}/{kind.collection}" for kind in plugin.declaration.task_types)
        return Registered(plugin.name, plugin.message, tuple(types))

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise RegistrationError(from_rpc_error(error)) from None
