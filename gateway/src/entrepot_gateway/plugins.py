"""The catalog as it is now, kept up to date by core: a plugin comes and goes without a restart."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import grpc
import structlog

from entrepot.core.v1 import plugin_service_pb2, plugin_service_pb2_grpc
from entrepot_gateway.catalog import EMPTY, Catalog
from entrepot_gateway.watch import keep_watching
from entrepot_rpc.errors import Code, ServiceError

if TYPE_CHECKING:
    from entrepot_gateway.core import Core

log = structlog.get_logger()

# How long a request waits for the first declarations, and for one that core has and we have not.
FIRST_SECONDS = 5.0
NEWS_SECONDS = 2.0


def core_absent() -> ServiceError:
    """The error that says that core cannot be reached."""
    return ServiceError.of(
        Code.UNAVAILABLE,
        "CORE_UNAVAILABLE",
        "Core does not answer. It may be starting; try again.",
        retry_after_seconds=1,
    )


class Plugins:
    """What every request asks for the catalog."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._stub = plugin_service_pb2_grpc.PluginServiceStub(core.channel)
        self._catalog = EMPTY
        self._is_followed = False
        self._loaded = asyncio.Event()
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Follow core until canceled."""
        await keep_watching(
            "plugins",
            lambda: self._stub.WatchPlugins(
                plugin_service_pb2.WatchPluginsRequest(), metadata=self._core.own
            ),
            self.receive,
            self.broken,
        )

    @property
    def is_followed(self) -> bool:
        """Whether core is there and has said which plugins there are."""
        return self._is_followed

    def receive(self, response: plugin_service_pb2.WatchPluginsResponse) -> None:
        """Take all declarations, whole."""
        self._catalog = Catalog.of(response.declarations, self._catalog)
        log.info("catalog.received", plugins=sorted(self._catalog.plugins))
        self._is_followed = True
        self._loaded.set()
        self._changed.set()
        self._changed = asyncio.Event()

    def broken(self, _code: grpc.StatusCode | None) -> None:
        """Note that core is not there; the catalog stays as it was."""
        self._is_followed = False

    async def catalog(self) -> Catalog:
        """The latest catalog.

        Raises:
            ServiceError: core has not said yet which plugins there are.

        """
        if not self._loaded.is_set():
            try:
                async with asyncio.timeout(FIRST_SECONDS):
                    await self._loaded.wait()
            except TimeoutError:
                raise core_absent() from None
        return self._catalog

    async def catalog_with(self, plugin: str) -> Catalog:
        """The latest catalog; one that has the plugin, if core registered it a moment ago."""
        catalog = await self.catalog()
        if plugin not in catalog.plugins and await self._is_registered(plugin):
            with suppress(TimeoutError):
                async with asyncio.timeout(NEWS_SECONDS):
                    while plugin not in self._catalog.plugins:
                        await self._changed.wait()
        return self._catalog

    async def _is_registered(self, plugin: str) -> bool:
        request = plugin_service_pb2.GetPluginRequest(name=f"plugins/{plugin}")
        try:
            await self._stub.GetPlugin(request, metadata=self._core.own, timeout=NEWS_SECONDS)
        except grpc.RpcError:
            return False
        return True
