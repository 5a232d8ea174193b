"""StatusService: how everything is, in numbers and in words."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from entrepot.core.v1 import status_service_pb2, status_service_pb2_grpc
from entrepot_core.api import problems
from entrepot_core.api.plugin_service import plugin_message
from entrepot_core.domain.errors import ServiceError
from entrepot_core.plugins import builtin
from entrepot_core.store import (
    condition,
    dispatchers,
    installation,
    plugins,
    remote_secrets,
    tally,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from entrepot_core.blobs.probe import StoreProbe
    from entrepot_core.plugins.registry import Registry
    from entrepot_core.store.database import Database
    from entrepot_core.store.dispatchers import DispatcherRow
    from entrepot_core.store.secret_key import SecretKey

__all__ = ["StatusService"]

_MAX_PLUGINS = 1_000


class StatusService(status_service_pb2_grpc.StatusServiceServicer):
    """See status_service.proto."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        free_bytes: Callable[[], int],
        store: StoreProbe,
        secret_key: SecretKey,
        content_url: str,
    ) -> None:
        """`free_bytes` says how many there are for blobs; it may raise ServiceError."""
        self._database = database
        self._registry = registry
        self._free_bytes = free_bytes
        self._store = store
        self._secret_key = secret_key
        self._content_url = content_url

    def GetStatus(
        self, request: status_service_pb2.GetStatusRequest, context: grpc.ServicerContext
    ) -> status_service_pb2.GetStatusResponse:
        with self._database.transaction() as cursor:
            version = installation.server_version(cursor)
            found = installation.problems(cursor)
            now = time.time()
            state = condition.read(cursor, problems.STALLED_SECONDS)
            rows = plugins.page(cursor, _MAX_PLUGINS)
            running_dispatchers = dispatchers.alive(cursor)
            counts = tally.tasks(cursor)
            waiting_for = {
                row.name: condition.waiting_for(cursor, row.plugin_id)
                for row in rows
                if row.health != "serving"
            }
            unreadable = remote_secrets.unreadable(cursor, self._secret_key)
        waiting, running = (
            sum(count for (at, _), count in counts.items() if at == wanted)
            for wanted in ("waiting", "running")
        )
        fault, free_bytes = self._store.fault(), 0
        try:
            free_bytes = self._free_bytes()
        except (ServiceError, OSError) as error:
            fault = fault or str(error)
        ahead = now - state.now.timestamp()
        found += problems.database_problems(state)
        found += filter(None, [problems.clock_problem("this api process", ahead)])
        found += problems.dispatcher_problems(running_dispatchers, waiting)
        found += problems.plugin_problems(rows, waiting_for)
        found += problems.store_problems(fault, free_bytes)
        found += problems.stalled_problems(state.stalled)
        found += problems.secret_problems(unreadable)
        found += problems.remote_problems(state.unverified_remotes)
        catalog = self._registry.refresh()
        return status_service_pb2.GetStatusResponse(
            version=builtin.version(),
            database_version=version,
            problems=found,
            plugins=[plugin_message(row, catalog) for row in rows],
            dispatchers=[_dispatcher(row) for row in running_dispatchers],
            waiting_tasks=waiting,
            running_tasks=running,
            blob_free_bytes=free_bytes,
            content_url=self._content_url,
        )


def _dispatcher(row: DispatcherRow) -> status_service_pb2.GetStatusResponse.Dispatcher:
    message = status_service_pb2.GetStatusResponse.Dispatcher(
        name=row.name, running_attempts=row.running
    )
    message.beat_time.FromDatetime(row.beat_at)
    return message
