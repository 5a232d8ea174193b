"""StatusService: how everything is, in numbers and in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from entrepot.core.v1 import status_service_pb2, status_service_pb2_grpc
from entrepot_core.api.plugin_service import plugin_message
from entrepot_core.domain.errors import ServiceError
from entrepot_core.plugins import builtin
from entrepot_core.store import dispatchers, installation, plugins, tasks

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from entrepot_core.plugins.registry import Registry
    from entrepot_core.store.database import Database
    from entrepot_core.store.dispatchers import DispatcherRow
    from entrepot_core.store.plugins import PluginRow

__all__ = ["StatusService", "dispatcher_problems", "plugin_problems"]

_SILENT = timedelta(seconds=10)
_MAX_PLUGINS = 1_000


class StatusService(status_service_pb2_grpc.StatusServiceServicer):
    """See status_service.proto."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        free_bytes: Callable[[], int],
        content_url: str,
    ) -> None:
        """`free_bytes` says how many there are for blobs; it may raise ServiceError."""
        self._database = database
        self._registry = registry
        self._free_bytes = free_bytes
        self._content_url = content_url

    def GetStatus(
        self, request: status_service_pb2.GetStatusRequest, context: grpc.ServicerContext
    ) -> status_service_pb2.GetStatusResponse:
        with self._database.transaction() as cursor:
            version = installation.server_version(cursor)
            problems = installation.problems(cursor)
            rows = plugins.page(cursor, _MAX_PLUGINS)
            running_dispatchers = dispatchers.alive(cursor)
            waiting, running = tasks.count_open(cursor)
        problems += plugin_problems(rows)
        problems += dispatcher_problems(running_dispatchers, waiting)
        free_bytes = 0
        try:
            free_bytes = self._free_bytes()
        except (ServiceError, OSError) as error:
            problems.append(f"The store for blobs does not answer: {error}")
        catalog = self._registry.refresh()
        return status_service_pb2.GetStatusResponse(
            version=builtin.version(),
            database_version=version,
            problems=problems,
            plugins=[plugin_message(row, catalog) for row in rows],
            dispatchers=[_dispatcher(row) for row in running_dispatchers],
            waiting_tasks=waiting,
            running_tasks=running,
            blob_free_bytes=free_bytes,
            content_url=self._content_url,
        )


def plugin_problems(rows: list[PluginRow]) -> list[str]:
    """What is wrong with plugins, in sentences."""
    problems = [
        f"The plugin {row.name} is {row.health}"
        + (f": {row.message}" if row.message else " and its tasks wait.")
        for row in rows
        if row.health != "serving"
    ]
    if not rows:
        problems.append("No plugin is registered, so there is nothing to sync.")
    return problems


def dispatcher_problems(rows: list[DispatcherRow], waiting: int) -> list[str]:
    """What is wrong with dispatchers, while so many tasks wait, in sentences."""
    silent = datetime.now(UTC) - _SILENT
    problems = [
        f"The dispatcher {row.name} has said nothing since {row.beat_at:%H:%M:%S} UTC."
        for row in rows
        if row.beat_at < silent
    ]
    if not rows:
        problems.append(f"No dispatcher runs, and {waiting} tasks wait for one.")
    return problems


def _dispatcher(row: DispatcherRow) -> status_service_pb2.GetStatusResponse.Dispatcher:
    message = status_service_pb2.GetStatusResponse.Dispatcher(
        name=row.name, running_attempts=row.running
    )
    message.beat_time.FromDatetime(row.beat_at)
    return message
