"""Keeps an eye on all plugins.

Each is asked every 30 seconds, at once when its connection changes, and often while it is down.
"""

from __future__ import annotations

import time
from concurrent import futures
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import structlog

from entrepot_core.domain.errors import ServiceError
from entrepot_core.store import plugins

if TYPE_CHECKING:
    from collections.abc import Callable

    from entrepot_core.plugins.client import Clients
    from entrepot_core.plugins.describing import Describer
    from entrepot_core.store.database import Database

__all__ = ["Poller"]

log = structlog.get_logger()

_EVERY_SECONDS = 30.0
_DOWN_SECONDS = 1.0
_LOOK_SECONDS = 1.0


@dataclass
class _Watched:
    target: str
    due: float = 0.0
    was_ready: bool = False
    is_connected: bool = False
    is_asked: bool = False


class Poller:
    """The step of the single runner that watches plugins."""

    def __init__(self, database: Database, clients: Clients, describer: Describer) -> None:
        self._database = database
        self._clients = clients
        self._describer = describer
        self._watched: dict[str, _Watched] = {}
        # One that does not answer must not delay the others.
        self._threads = futures.ThreadPoolExecutor(8, thread_name_prefix="describe")
        self.poke: Callable[[], None] = lambda: None

    def step(self) -> float:
        """Asks the plugins that are due; returns how long until it should look again."""
        with self._database.statements() as cursor:
            rows = plugins.page(cursor, 1000)
        names = {row.name for row in rows}
        for name in set(self._watched) - names:
            del self._watched[name]
        for row in rows:
            watched = self._watched.get(row.name)
            if watched is None or watched.target != row.target:
                watched = self._watched[row.name] = self._watch(row.name, row.target)
            # A dispatcher that could not reach it says so in the row.
            is_due = watched.due <= time.monotonic()
            if not watched.is_asked and (is_due or (row.health == "down" and watched.was_ready)):
                watched.is_asked = True
                self._threads.submit(self._ask, row, watched)
        return _LOOK_SECONDS

    def close(self) -> None:
        """Waits for the questions under way."""
        self._threads.shutdown(cancel_futures=True)

    def _ask(self, row: plugins.PluginRow, watched: _Watched) -> None:
        try:
            watched.was_ready = self._describer.poll(row)
        except ServiceError as error:
            log.warning("plugin.poll_failed", plugin=row.name, error=error.message)
            watched.was_ready = False
        finally:
            # The connection may have been lost while the answer was on its way.
            is_well = watched.was_ready and watched.is_connected
            pause = _EVERY_SECONDS if is_well else _DOWN_SECONDS
            watched.due = time.monotonic() + pause
            watched.is_asked = False

    def _watch(self, name: str, target: str) -> _Watched:
        watched = _Watched(target)

        def changed(state: Any) -> None:  # noqa: ANN401  grpc.ChannelConnectivity
            watched.is_connected = state is grpc.ChannelConnectivity.READY
            is_news = watched.is_connected != watched.was_ready
            if is_news and self._watched.get(name) is watched:
                watched.due = 0.0
                self.poke()

        self._clients.at(target).channel.subscribe(changed, try_to_connect=True)
        return watched
