"""The api process: every servicer, wired to one database, one blob store, one registry."""

from __future__ import annotations

import threading
from concurrent import futures
from typing import TYPE_CHECKING, TypeVar

from entrepot.core.v1 import (
    blob_service_pb2_grpc,
    content_service_pb2_grpc,
    distribution_service_pb2_grpc,
    limit_service_pb2_grpc,
    plugin_service_pb2_grpc,
    publication_service_pb2_grpc,
    remote_service_pb2_grpc,
    repository_service_pb2_grpc,
    serving_service_pb2_grpc,
    status_service_pb2_grpc,
    task_service_pb2_grpc,
    token_service_pb2_grpc,
    upload_service_pb2_grpc,
    workspace_service_pb2_grpc,
)
from entrepot_core.api.at_once import AtOnce
from entrepot_core.api.authentication import Authenticator
from entrepot_core.api.blob_service import BlobService
from entrepot_core.api.callers import Callers
from entrepot_core.api.content_service import ContentService
from entrepot_core.api.creation_requests import CreationRequests
from entrepot_core.api.distribution_service import DistributionService
from entrepot_core.api.event_log import EventLog
from entrepot_core.api.limit_service import LimitService
from entrepot_core.api.plugin_service import PluginService
from entrepot_core.api.pointers import PointerWatch
from entrepot_core.api.publication_service import PublicationService
from entrepot_core.api.reflection import ReflectionPool
from entrepot_core.api.remote_service import RemoteService
from entrepot_core.api.repository_service import RepositoryService
from entrepot_core.api.serving_service import LONG_CALLS, ServingService
from entrepot_core.api.status_service import StatusService
from entrepot_core.api.task_creator import TaskCreator
from entrepot_core.api.task_service import MAX_WAITING, TaskService
from entrepot_core.api.token_service import TokenService
from entrepot_core.api.upload_service import UploadService
from entrepot_core.api.workspace_service import WorkspaceService, workspace_of
from entrepot_core.blobs.opening import open_blob_store
from entrepot_core.blobs.probe import StoreProbe
from entrepot_core.downloads.downloader import Downloader
from entrepot_core.downloads.fetching import Fetching
from entrepot_core.downloads.index_files import IndexFiles, IndexTemplate
from entrepot_core.downloads.keeper import Keeper
from entrepot_core.downloads.observer import UNOBSERVED
from entrepot_core.downloads.on_demand import OnDemand
from entrepot_core.downloads.receiving import Receiving
from entrepot_core.downloads.remote import Remotes
from entrepot_core.plugins.client import Clients
from entrepot_core.plugins.describing import Describer
from entrepot_core.plugins.parameters import ParameterReader
from entrepot_core.plugins.poller import Poller
from entrepot_core.plugins.registry import Registry
from entrepot_core.store import events, temporary
from entrepot_core.store.database import Database
from entrepot_core.store.listener import Waker
from entrepot_core.store.numberer import Numberer
from entrepot_core.store.runner import Role, SingleRunner
from entrepot_core.store.secret_key import SecretKey
from entrepot_rpc.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import grpc

    from entrepot_core.api.metrics import ShownMetrics
    from entrepot_core.config import Config

__all__ = ["ApiServer"]

_THREADS = 48
_CONNECTIONS = 32
_SERVICE = "entrepot.core.v1."
_LONG_THREADS = 128
# One for each gateway that follows what plugins there are.
_WATCHING_THREADS = 64

T = TypeVar("T")


class ApiServer:
    """Serves core's API on one address; `start` and `stop`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.database = Database(config.database_url, size=_CONNECTIONS, name="entrepot api")
        self.database.on_connect(temporary.for_staging)
        self._clients = Clients()
        self.registry = Registry(self.database)
        self._stopping = threading.Event()
        # Here too, so that watchers see what happens while no dispatcher runs.
        self._numberer = SingleRunner(
            config.database_url, Role.NUMBERER, Numberer(self.database).step
        )
        self._log = EventLog(self.database, self._numberer.poke)
        self._waker = Waker(self.database)
        self._inbox_waker = Waker(self.database, events.INBOX)
        self._pointer_waker = Waker(self.database, events.POINTERS)
        self._pointers = PointerWatch(self.database)
        self._shown = _show(config, self.database)
        self._downloader = Downloader(
            allow_loopback=config.allow_loopback_upstreams,
            refused_networks=config.refused_networks,
            host_connections=config.host_connections,
            observer=self._shown.downloads if self._shown else UNOBSERVED,
        )
        self._secret_key = SecretKey(config.secret_key_file)
        self._remotes = Remotes(self.database, self._secret_key)
        self._keeper = Keeper(
            self.database,
            open_blob_store(*config.blobs),
        )
        self._probe = StoreProbe(self._keeper.store.probe)
        self._on_demand = OnDemand(self._keeper, self._downloader, self._remotes)
        self._describer = Describer(self.database, self._clients, self.registry)
        self._poller = Poller(self.database, self._clients, self._describer)
        self._polling = SingleRunner(config.database_url, Role.PLUGIN_POLLER, self._poller.step)
        self._poller.poke = self._polling.poke
        self._follower = threading.Thread(
            target=self.registry.follow, args=(self._stopping,), name="registry", daemon=True
        )
        self._authenticator = Authenticator(
            Callers.of(config.api_token, self.database), config.content_token
        )
        self._requests = CreationRequests(self._authenticator.principal_of)
        self._server = Server(
            config.grpc,
            threads=_THREADS,
            interceptors=(self._authenticator,),
            pools=_pools(),
            calls=self._shown.calls if self._shown else None,
        )
        self._add_tasks()
        self._add_content()
        self._add_bytes()

    def start(self) -> str:
        """Begins to serve; returns the address."""
        # What an api process before this one was writing when it died.
        self._keeper.store.sweep_temporary()
        self.registry.refresh()
        self._log.start()
        for waker in (self._waker, self._inbox_waker, self._pointer_waker):
            waker.start()
        self._pointers.start()
        self._follower.start()
        self._polling.start()
        self._numberer.start()
        if self._shown is not None:
            self._shown.start(self._downloader, self._keeper.store.free_bytes, self._probe)
        return self._server.start(ReflectionPool(self.registry.catalog))

    def stop(self, grace_seconds: float = 5) -> None:
        """Takes no new calls, ends watches, waits for the other calls."""
        self._stopping.set()
        self._log.close()
        self._pointers.close()
        self._server.stop(grace_seconds)
        if self._shown is not None:
            self._shown.stop()
        self._numberer.stop()
        self._polling.stop()
        self._poller.close()
        self._follower.join(timeout=10)
        for waker in (self._waker, self._inbox_waker, self._pointer_waker):
            waker.stop()
        self._clients.close()
        self._downloader.close()
        self._on_demand.close()
        self._keeper.store.close()
        self.database.close()

    def _add_tasks(self) -> None:
        reader = ParameterReader(self.database, self.registry, self._clients)
        at_once = AtOnce(
            self.database,
            self.registry,
            noted=self._note_events,
            served_changed=self._pointer_waker.poke,
            times=self._shown.times if self._shown else None,
        )
        creator = TaskCreator(self.database, self.registry, reader, self._waker.poke, at_once)
        self._add(
            "TaskService",
            task_service_pb2_grpc.add_TaskServiceServicer_to_server,
            TaskService(
                self.database,
                self.registry,
                creator,
                self._log,
                self._waker.poke,
                self._authenticator.principal_of,
            ),
        )
        self._add(
            "PluginService",
            plugin_service_pb2_grpc.add_PluginServiceServicer_to_server,
            PluginService(
                self.database, self.registry, self._describer, self._stopping, self._waker.poke
            ),
        )
        self._add(
            "LimitService",
            limit_service_pb2_grpc.add_LimitServiceServicer_to_server,
            LimitService(self.database, self.registry, self._waker.poke, self._requests),
        )
        self._add(
            "StatusService",
            status_service_pb2_grpc.add_StatusServiceServicer_to_server,
            StatusService(
                self.database,
                self.registry,
                self._keeper.store.free_bytes,
                self._probe,
                self._secret_key,
                self._config.content_url,
            ),
        )

    def _add_content(self) -> None:
        self._add(
            "WorkspaceService",
            workspace_service_pb2_grpc.add_WorkspaceServiceServicer_to_server,
            WorkspaceService(self.database, self.registry),
        )
        self._add(
            "ContentService",
            content_service_pb2_grpc.add_ContentServiceServicer_to_server,
            ContentService(self.database, self.registry),
        )
        self._add(
            "RepositoryService",
            repository_service_pb2_grpc.add_RepositoryServiceServicer_to_server,
            RepositoryService(self.database, self.registry, self._requests),
        )
        self._add(
            "RemoteService",
            remote_service_pb2_grpc.add_RemoteServiceServicer_to_server,
            RemoteService(self.database, self.registry, self._secret_key, self._requests),
        )
        self._add(
            "PublicationService",
            publication_service_pb2_grpc.add_PublicationServiceServicer_to_server,
            PublicationService(self.database),
        )
        self._add(
            "DistributionService",
            distribution_service_pb2_grpc.add_DistributionServiceServicer_to_server,
            DistributionService(
                self.database, self.registry, self._config.content_url, self._requests
            ),
        )

        self._add(
            "TokenService",
            token_service_pb2_grpc.add_TokenServiceServicer_to_server,
            TokenService(self.database, self._secret_key, self._requests),
        )

    def _add_bytes(self) -> None:
        self._add(
            "BlobService",
            blob_service_pb2_grpc.add_BlobServiceServicer_to_server,
            BlobService(
                self._keeper,
                Fetching(self._keeper, self._downloader),
                self._remotes,
                self._workspace_of,
            ),
        )
        self._add(
            "UploadService",
            upload_service_pb2_grpc.add_UploadServiceServicer_to_server,
            UploadService(self._keeper, Receiving(self._keeper), self._authenticator.principal_of),
        )
        self._add(
            "ServingService",
            serving_service_pb2_grpc.add_ServingServiceServicer_to_server,
            ServingService(
                self.database,
                self._on_demand,
                IndexFiles(self._keeper, self._indexes),
                self._pointers,
            ),
        )

    def _note_events(self) -> None:
        # Whoever numbers events is told in the shortest way.
        if self._numberer.is_leading:
            self._numberer.poke()
        else:
            self._inbox_waker.poke()

    def _workspace_of(self, context: grpc.ServicerContext) -> int:
        return workspace_of(self.database, context).workspace_id

    def _indexes(self) -> Iterator[IndexTemplate]:
        for content_type in self.registry.catalog().content_types():
            for index in content_type.declared.indexes:
                yield IndexTemplate(content_type.name, index.path, index.line)

    def _add(self, name: str, register: Callable[[T, grpc.Server], None], servicer: T) -> None:
        self._server.add(_SERVICE + name, lambda server: register(servicer, server))


def _show(config: Config, database: Database) -> ShownMetrics | None:
    if not config.metrics:
        return None
    # Only who shows metrics pays for them.
    from entrepot_core.api.metrics import ShownMetrics  # noqa: PLC0415

    return ShownMetrics(config.metrics, config.metrics_token, database)


def _pools() -> Mapping[str, futures.ThreadPoolExecutor]:
    # Calls that wait have threads of their own, so that no number of them delays the others.
    waiting = futures.ThreadPoolExecutor(MAX_WAITING + _THREADS, thread_name_prefix="waiting")
    watching = futures.ThreadPoolExecutor(_WATCHING_THREADS, thread_name_prefix="watching")
    long_calls = futures.ThreadPoolExecutor(_LONG_THREADS, thread_name_prefix="long")
    pools = {
        f"/{_SERVICE}TaskService/{method}": waiting
        for method in ("CreateTask", "GetTask", "CloneTask", "CommitPlan")
    }
    # Streams of tasks and events need none; see event_streams.
    pools[f"/{_SERVICE}PluginService/WatchPlugins"] = watching
    pools |= dict.fromkeys(LONG_CALLS, long_calls)
    pools |= {
        f"/{_SERVICE}{method}": long_calls
        for method in (
            "BlobService/FetchBlobs",
            "BlobService/ReadBlob",
            "BlobService/WriteBlob",
            "UploadService/WriteUpload",
            "WorkspaceService/ReadContent",
        )
    }
    return pools
