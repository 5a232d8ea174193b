"""The api process: every servicer, wired to one database, one blob store, one registry."""

from __future__ import annotations

import threading
from concurrent import futures
from typing import TYPE_CHECKING, TypeVar

from entrepot.core.v1 import (
    plugin_service_pb2_grpc,
    status_service_pb2_grpc,
    task_service_pb2_grpc,
)
from entrepot_core.api.authentication import Authenticator
from entrepot_core.api.event_log import EventLog
from entrepot_core.api.plugin_service import PluginService
from entrepot_core.api.reflection import ReflectionPool
from entrepot_core.api.status_service import StatusService
from entrepot_core.api.task_creator import TaskCreator
from entrepot_core.api.task_service import MAX_WAITING, MAX_WATCHING, TaskService
from entrepot_core.plugins.client import Clients
from entrepot_core.plugins.describing import Describer
from entrepot_core.plugins.parameters import ParameterReader
from entrepot_core.plugins.poller import Poller
from entrepot_core.plugins.registry import Registry
from entrepot_core.store import temporary
from entrepot_core.store.database import Database
from entrepot_core.store.listener import Waker
from entrepot_core.store.runner import Role, SingleRunner
from entrepot_rpc.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import grpc

    from entrepot_core.config import Config

__all__ = ["ApiServer"]

_THREADS = 48
_CONNECTIONS = 24
_SERVICE = "entrepot.core.v1."

T = TypeVar("T")


class ApiServer:
    """Serves core's API on one address; `start` and `stop`."""

    def __init__(self, config: Config) -> None:
        self.database = Database(config.database_url, size=_CONNECTIONS, name="entrepot api")
        self.database.on_connect(temporary.prepare)
        self._clients = Clients()
        self.registry = Registry(self.database)
        self._stopping = threading.Event()
        self._log = EventLog(self.database)
        self._waker = Waker(self.database)
        describer = Describer(self.database, self._clients, self.registry)
        self._poller = Poller(self.database, self._clients, describer)
        self._polling = SingleRunner(config.database_url, Role.PLUGIN_POLLER, self._poller.step)
        self._poller.poke = self._polling.poke
        self._follower = threading.Thread(
            target=self.registry.follow, args=(self._stopping,), name="registry", daemon=True
        )
        self._server = Server(
            config.grpc,
            threads=_THREADS,
            interceptors=(Authenticator(config.api_token, config.content_token),),
            pools=_pools(),
        )
        self._add_tasks()
        self._add(
            "PluginService",
            plugin_service_pb2_grpc.add_PluginServiceServicer_to_server,
            PluginService(
                self.database, self.registry, describer, self._stopping, self._waker.poke
            ),
        )
        self._add(
            "StatusService",
            status_service_pb2_grpc.add_StatusServiceServicer_to_server,
            StatusService(self.database, self.registry, lambda: 0, config.content_url),
        )

    def start(self) -> str:
        """Begins to serve; returns the address."""
        self.registry.refresh()
        self._log.start()
        self._waker.start()
        self._follower.start()
        self._polling.start()
        return self._server.start(ReflectionPool(self.registry.catalog))

    def stop(self, grace_seconds: float = 5) -> None:
        """Takes no new calls, ends watches, waits for the other calls."""
        self._stopping.set()
        self._log.close()
        self._server.stop(grace_seconds)
        self._polling.stop()
        self._poller.close()
        self._follower.join(timeout=10)
        self._waker.stop()
        self._clients.close()
        self.database.close()

    def _add_tasks(self) -> None:
        reader = ParameterReader(self.database, self.registry, self._clients)
        creator = TaskCreator(self.database, self.registry, reader, self._waker.poke)
        self._add(
            "TaskService",
            task_service_pb2_grpc.add_TaskServiceServicer_to_server,
            TaskService(self.database, self.registry, creator, self._log, self._waker.poke),
        )

    def _add(self, name: str, register: Callable[[T, grpc.Server], None], servicer: T) -> None:
        self._server.add(_SERVICE + name, lambda server: register(servicer, server))


def _pools() -> Mapping[str, futures.ThreadPoolExecutor]:
    # Calls that wait have threads of their own, so that no number of them delays the others.
    waiting = futures.ThreadPoolExecutor(MAX_WAITING + _THREADS, thread_name_prefix="waiting")
    watching = futures.ThreadPoolExecutor(MAX_WATCHING + 8, thread_name_prefix="watching")
    pools = {
        f"/{_SERVICE}TaskService/{method}": waiting
        for method in ("CreateTask", "GetTask", "CloneTask")
    }
    pools |= {
        f"/{_SERVICE}{method}": watching
        for method in (
            "TaskService/WatchTask",
            "TaskService/WatchEvents",
            "PluginService/WatchPlugins",
        )
    }
    return pools
