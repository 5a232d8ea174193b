"""The dispatching process: everything that runs attempts, wired together."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from entrepot_core.blobs.opening import open_blob_store
from entrepot_core.dispatch.attempt import CANCEL_GRACE_SECONDS, AttemptTools
from entrepot_core.dispatch.dispatcher import Dispatcher
from entrepot_core.dispatch.executors import ready_made
from entrepot_core.dispatch.housekeeper import Housekeeper
from entrepot_core.dispatch.observer import UNOBSERVED
from entrepot_core.dispatch.settling import Settler
from entrepot_core.dispatch.sweeper import Sweeper
from entrepot_core.downloads.attempt import AttemptDownloads
from entrepot_core.downloads.downloader import Downloader
from entrepot_core.downloads.keeper import Keeper
from entrepot_core.downloads.observer import UNOBSERVED as UNOBSERVED_DOWNLOADS
from entrepot_core.downloads.remote import Remotes
from entrepot_core.plugins.client import Clients
from entrepot_core.plugins.describing import Describer
from entrepot_core.plugins.parameters import ParameterReader
from entrepot_core.plugins.poller import Poller
from entrepot_core.plugins.registry import Registry
from entrepot_core.store import events, fetch_cache, janitor, temporary, uploads
from entrepot_core.store.database import Database
from entrepot_core.store.listener import Waker
from entrepot_core.store.numberer import Numberer
from entrepot_core.store.runner import Role, SingleRunner
from entrepot_core.store.secret_key import SecretKey

if TYPE_CHECKING:
    from entrepot_core.config import Config
    from entrepot_core.dispatch.metrics import ShownMetrics

__all__ = ["DispatchProcess"]

# A step of housekeeping may go over the whole store.
_HOUSEKEEPING_SECONDS = 900.0


def _show(config: Config, database: Database) -> ShownMetrics | None:
    if not config.metrics:
        return None
    # Only who shows metrics pays for them.
    from entrepot_core.dispatch.metrics import ShownMetrics  # noqa: PLC0415

    return ShownMetrics(config.metrics, config.metrics_token, database)


class DispatchProcess:
    """A dispatcher with what it needs; `start` and `stop`."""

    def __init__(
        self, config: Config, *, cancel_grace_seconds: float = CANCEL_GRACE_SECONDS
    ) -> None:
        slots = self._slots = config.dispatcher_slots
        # One connection for each attempt that commits or reports, and some for the loops.
        self.database = Database(config.database_url, size=slots + 8, name="entrepot dispatch")
        self.database.on_connect(temporary.for_commits)
        self._clients = Clients()
        self.registry = Registry(self.database)
        self._stopping = threading.Event()
        self._waker = Waker(self.database)
        self._inbox_waker = Waker(self.database, events.INBOX)
        self._pointer_waker = Waker(self.database, events.POINTERS)
        self._shown = _show(config, self.database)
        observer = self._shown.attempts if self._shown else UNOBSERVED
        self._downloader = Downloader(
            allow_loopback=config.allow_loopback_upstreams,
            refused_networks=config.refused_networks,
            host_connections=config.host_connections,
            observer=self._shown.downloads if self._shown else UNOBSERVED_DOWNLOADS,
        )
        remotes = Remotes(self.database, SecretKey(config.secret_key_file))
        keeper = Keeper(self.database, open_blob_store(*config.blobs))
        self._store = keeper.store

        def downloads(workspace_id: int, **told: Any) -> AttemptDownloads:  # noqa: ANN401  as there
            return AttemptDownloads(keeper, self._downloader, remotes, workspace_id, **told)

        tools = AttemptTools(
            database=self.database,
            registry=self.registry,
            clients=self._clients,
            reader=ParameterReader(self.database, self.registry, self._clients),
            settler=Settler(
                self.database,
                self._stopping,
                self._pointer_waker.poke,
                self._note_events,
                observer,
            ),
            ready_made=ready_made(self.database, keeper, self.registry, self._downloader, remotes),
            downloads=downloads,
            heartbeat_timeout_seconds=config.heartbeat_timeout_seconds,
            cancel_grace_seconds=cancel_grace_seconds,
            observer=observer,
        )
        url = config.database_url
        self._numberer = SingleRunner(url, Role.NUMBERER, Numberer(self.database).step)
        janitors = (*janitor.ALL, uploads.sweep_expired, fetch_cache.forget_unused)
        sweeper = Sweeper(
            self.database,
            self._waker.poke,
            janitors,
            ageing_seconds=config.ageing_seconds,
            observer=observer,
        )
        # How long the work of a dead dispatcher rests also depends on how soon another sweeps.
        self._sweeper = SingleRunner(url, Role.SWEEPER, sweeper.step, stand_by_seconds=0.2)
        self._poller = Poller(
            self.database, self._clients, Describer(self.database, self._clients, self.registry)
        )
        housekeeper = Housekeeper(self.database, keeper.store, config.retention)
        self._housekeeper = SingleRunner(
            url, Role.HOUSEKEEPER, housekeeper.step, silent_seconds=_HOUSEKEEPING_SECONDS
        )
        self._polling = SingleRunner(url, Role.PLUGIN_POLLER, self._poller.step)
        self._poller.poke = self._polling.poke
        self._runners = (self._numberer, self._sweeper, self._polling, self._housekeeper)
        self.dispatcher = Dispatcher(
            self.database,
            tools,
            slots,
            wake=self._waker.poke,
            noted=self._note_events,
            heard=self._numberer.poke,
        )
        self._follower = threading.Thread(
            target=self.registry.follow, args=(self._stopping,), name="registry", daemon=True
        )

    def start(self) -> None:
        """Registers and begins to claim."""
        # What a dispatcher before this one was writing when it died; another may keep house.
        self._store.sweep_temporary()
        self.registry.refresh()
        self._waker.start()
        self._inbox_waker.start()
        self._pointer_waker.start()
        self._follower.start()
        for runner in self._runners:
            runner.start()
        self.dispatcher.start()
        if self._shown is not None:
            self._shown.start(self._downloader, self.dispatcher.running, self._slots)

    def stop(self, grace_seconds: float = 10) -> None:
        """Drains: claims nothing more, waits for attempts, hands over those that take longer."""
        self.dispatcher.stop(grace_seconds)
        if self._shown is not None:
            self._shown.stop()
        self._stopping.set()
        for runner in reversed(self._runners):
            runner.stop()
        self._poller.close()
        self._follower.join(timeout=10)
        self._waker.stop()
        self._inbox_waker.stop()
        self._pointer_waker.stop()
        self._clients.close()
        self._downloader.close()
        self.database.close()

    def _note_events(self) -> None:
        """Has the events that this process wrote numbered, here or elsewhere."""
        if self._numberer.is_leading:
            self._numberer.poke()
        else:
            self._inbox_waker.poke()
