"""Whether requests should be sent here: only while core is there, and has its database."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from entrepot.core.v1 import plugin_service_pb2
from entrepot_gateway.plugins import core_absent
from entrepot_rpc.errors import Code, ServiceError

if TYPE_CHECKING:
    from entrepot_gateway.core import Core
    from entrepot_gateway.plugins import Plugins

# What must have come by then does not come.
SECONDS = 1.0
# Anybody may ask, so core is asked no more often than this, however many do.
PAUSE_SECONDS = 0.25

# Small, and read from the database.
_LIST = plugin_service_pb2.DESCRIPTOR.services_by_name["PluginService"].methods_by_name[
    "ListPlugins"
]


class Readiness:
    """One question to core for all who ask within a moment."""

    def __init__(self, core: Core, plugins: Plugins) -> None:
        self._core = core
        self._plugins = plugins
        self._asking: asyncio.Task[ServiceError | None] | None = None
        self._asked = 0.0

    async def check(self) -> None:
        """Return if requests can be answered.

        Raises:
            ServiceError: UNAVAILABLE, with the reason; after a second at most.

        """
        if not self._plugins.is_followed:
            raise core_absent()
        now = asyncio.get_running_loop().time()
        if self._asking is None or (self._asking.done() and now > self._asked + PAUSE_SECONDS):
            self._asked = now
            self._asking = asyncio.create_task(self._ask(), name="readiness")
        # Who leaves does not take the answer from the others.
        fault = await asyncio.shield(self._asking)
        if fault is not None:
            raise fault

    async def _ask(self) -> ServiceError | None:
        request = plugin_service_pb2.ListPluginsRequest(page_size=1)
        try:
            await self._core.call(_LIST, request, self._core.own, SECONDS)
        except ServiceError as error:
            if error.code == Code.DEADLINE_EXCEEDED:
                return ServiceError.of(
                    Code.UNAVAILABLE,
                    "CORE_UNAVAILABLE",
                    f"Core did not answer within {SECONDS:g} s. Its database may be down.",
                    retry_after_seconds=1,
                )
            # Any other is an answer, such as that this gateway has no token of its own.
            return error if error.code == Code.UNAVAILABLE else None
        return None
