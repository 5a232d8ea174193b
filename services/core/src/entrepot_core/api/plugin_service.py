"""PluginService: registering plugins, and telling gateways what all of them declare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.core.v1 import plugin_service_pb2, plugin_service_pb2_grpc
from entrepot_core.api.named_resource import next_token, read_position
from entrepot_core.api.paging import page_size
from entrepot_core.domain.errors import (
    FieldInvalidError,
    NameTakenError,
    PluginContractViolationError,
    PluginIncompatibleError,
    PluginUnknownError,
)
from entrepot_core.store import plugins
from entrepot_rpc.errors import Code

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    import grpc
    from google.protobuf.duration_pb2 import Duration

    from entrepot.plugin.v1 import describe_pb2
    from entrepot_core.plugins.catalog import Catalog
    from entrepot_core.plugins.describing import Describer
    from entrepot_core.plugins.descriptors import Declaration
    from entrepot_core.plugins.registry import Registry
    from entrepot_core.store.database import Database
    from entrepot_core.store.plugins import PluginRow

__all__ = ["PluginService", "plugin_message"]

_MAX_WEIGHT = 1_000
_MAX_TIMEOUT_SECONDS = 30 * 86_400
_IDLE_SECONDS = 10.0
# Longer than a channel waits at most before it connects anew.
_PATIENCE_SECONDS = 3.0

_HEALTH = {
    "serving": plugin_service_pb2.Plugin.HEALTH_SERVING,
    "down": plugin_service_pb2.Plugin.HEALTH_DOWN,
    "incompatible": plugin_service_pb2.Plugin.HEALTH_INCOMPATIBLE,
}


class PluginService(plugin_service_pb2_grpc.PluginServiceServicer):
    """See plugin_service.proto."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        describer: Describer,
        stopping: threading.Event,
        wake: Callable[[], None],
    ) -> None:
        self._database = database
        self._registry = registry
        self._describer = describer
        self._stopping = stopping
        self._wake = wake

    def CreatePlugin(
        self, request: plugin_service_pb2.CreatePluginRequest, context: grpc.ServicerContext
    ) -> plugin_service_pb2.CreatePluginResponse:
        target = request.plugin.target.strip()
        if not target:
            raise FieldInvalidError.at("plugin.target", "is required.")
        weight = _weight(request.plugin.weight)
        timeout = _timeout(request.plugin.attempt_timeout)
        declaration = self._ask(target)
        asked = _segment(request.plugin.name)
        if asked and asked != declaration.name:
            raise FieldInvalidError.at(
                "plugin.name",
                f'is "{asked}", and the plugin at {target} calls itself "{declaration.name}".',
            )
        with self._database.transaction() as cursor:
            existing = plugins.find(cursor, declaration.name)
            if existing is not None and existing.target != target:
                raise NameTakenError(
                    f"plugins/{declaration.name} is registered already, at {existing.target}.",
                    metadata={"resource": f"plugins/{declaration.name}"},
                )
        self._put(declaration, target, weight, timeout)
        return plugin_service_pb2.CreatePluginResponse(plugin=self._read(declaration.name))

    def GetPlugin(
        self, request: plugin_service_pb2.GetPluginRequest, context: grpc.ServicerContext
    ) -> plugin_service_pb2.GetPluginResponse:
        return plugin_service_pb2.GetPluginResponse(plugin=self._read(_segment(request.name)))

    def ListPlugins(
        self, request: plugin_service_pb2.ListPluginsRequest, context: grpc.ServicerContext
    ) -> plugin_service_pb2.ListPluginsResponse:
        size = page_size(request.page_size)
        (after,) = read_position(request.page_token, (str,)) or ("",)
        with self._database.transaction() as cursor:
            rows = plugins.page(cursor, size + 1, after)
        catalog = self._registry.refresh()
        return plugin_service_pb2.ListPluginsResponse(
            plugins=[plugin_message(row, catalog) for row in rows[:size]],
            next_page_token=next_token((rows[size - 1].name,)) if len(rows) > size else "",
        )

    def UpdatePlugin(
        self, request: plugin_service_pb2.UpdatePluginRequest, context: grpc.ServicerContext
    ) -> plugin_service_pb2.UpdatePluginResponse:
        name = _segment(request.plugin.name)
        row = self._find(name)
        target = request.plugin.target.strip() or row.target
        weight = _weight(request.plugin.weight) if request.plugin.weight else row.weight
        timeout = (
            _timeout(request.plugin.attempt_timeout)
            if request.plugin.HasField("attempt_timeout")
            else row.attempt_timeout_seconds
        )
        if target != row.target:
            declaration = self._ask(target)
            if declaration.name != name:
                raise PluginIncompatibleError(
                    f"The plugin at {target} calls itself {declaration.name}, not {name}.",
                    metadata={"plugin": name},
                )
            self._put(declaration, target, weight, timeout)
        else:
            with self._database.transaction() as cursor:
                plugins.put(cursor, name, target, weight, timeout)
        return plugin_service_pb2.UpdatePluginResponse(plugin=self._read(name))

    def DeletePlugin(
        self, request: plugin_service_pb2.DeletePluginRequest, context: grpc.ServicerContext
    ) -> plugin_service_pb2.DeletePluginResponse:
        name = _segment(request.name)
        with self._database.transaction() as cursor:
            if not plugins.remove(cursor, name):
                raise _unknown(name)
        # The sweeper ends the tasks that wait for it.
        self._registry.refresh()
        self._wake()
        return plugin_service_pb2.DeletePluginResponse()

    def WatchPlugins(
        self, request: plugin_service_pb2.WatchPluginsRequest, context: grpc.ServicerContext
    ) -> Iterator[plugin_service_pb2.WatchPluginsResponse]:
        catalog = self._registry.refresh()
        sent: list[describe_pb2.DescribeResponse] | None = None
        # A command of the CLI asks once and leaves: its thread is needed for the next.
        context.add_callback(self._registry.wake)
        while context.is_active() and not self._stopping.is_set():
            declarations = _declarations(catalog)
            if declarations != sent:
                sent = declarations
                yield plugin_service_pb2.WatchPluginsResponse(declarations=declarations)
            catalog = self._registry.wait_for_change(
                catalog.revision, _IDLE_SECONDS, lambda: not context.is_active()
            )

    def _ask(self, target: str) -> Declaration:
        try:
            return self._describer.ask(target, _PATIENCE_SECONDS)
        except PluginContractViolationError as error:
            # It is no fault of ours that somebody names the address of such a plugin.
            error.code = Code.FAILED_PRECONDITION
            raise

    def _put(
        self, declaration: Declaration, target: str, weight: int, timeout: float | None
    ) -> None:
        with self._database.transaction() as cursor:
            plugins.put(cursor, declaration.name, target, weight, timeout)
        try:
            self._describer.check_replacement(declaration)
        except PluginIncompatibleError as error:
            # It is listed, with what is wrong, and gets no tasks.
            self._describer.record_incompatible(declaration, error)
        else:
            self._describer.record(declaration, target)
        self._wake()

    def _find(self, name: str) -> PluginRow:
        with self._database.transaction() as cursor:
            row = plugins.find(cursor, name)
        if row is None:
            raise _unknown(name)
        return row

    def _read(self, name: str) -> plugin_service_pb2.Plugin:
        return plugin_message(self._find(name), self._registry.refresh())


def plugin_message(row: PluginRow, catalog: Catalog) -> plugin_service_pb2.Plugin:
    """The message of a plugin."""
    plugin = plugin_service_pb2.Plugin(
        name=f"plugins/{row.name}",
        target=row.target,
        weight=row.weight,
        health=_HEALTH[row.health],
        message=row.message,
        running_attempts=row.running,
        max_running_attempts=row.max_running,
    )
    if row.attempt_timeout_seconds is not None:
        plugin.attempt_timeout.FromNanoseconds(int(row.attempt_timeout_seconds * 1e9))
    declaration = catalog.any_plugin(row.name)
    if declaration is not None and row.declaration_id is not None:
        plugin.declaration.CopyFrom(declaration.response)
        plugin.declaration.ClearField("descriptors")
    if row.seen_at is not None:
        plugin.seen_time.FromDatetime(row.seen_at)
    plugin.create_time.FromDatetime(row.created_at)
    return plugin


def _declarations(catalog: Catalog) -> list[describe_pb2.DescribeResponse]:
    return [one.response for _, one in sorted(catalog.declarations.items())]


def _segment(name: str) -> str:
    return name.strip().rstrip("/").rpartition("/")[2]


def _unknown(name: str) -> PluginUnknownError:
    return PluginUnknownError(
        f"There is no plugin {name}.", metadata={"plugin": name, "plugins": ""}
    )


def _weight(weight: int) -> int:
    if not 0 <= weight <= _MAX_WEIGHT:
        raise FieldInvalidError.at("plugin.weight", f"must be from 1 to {_MAX_WEIGHT:,}.")
    return weight or 1


def _timeout(asked: Duration) -> float | None:
    seconds = asked.ToNanoseconds() / 1e9
    if seconds and not 1 <= seconds <= _MAX_TIMEOUT_SECONDS:
        raise FieldInvalidError.at(
            "plugin.attempt_timeout", "must be from 1 second to 30 days, or 0 for none."
        )
    return seconds or None
