"""Metrics of the installation as a whole. Imported only where metrics are shown."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import structlog
from prometheus_client.core import GaugeMetricFamily

from entrepot_core.domain.errors import ServiceError
from entrepot_core.downloads.metrics import DownloadMetrics, observe_process
from entrepot_core.plugins.task_times import TaskTimes
from entrepot_core.store import measures
from entrepot_rpc.call_metrics import CallMetrics
from entrepot_rpc.exposition import Exposition, new_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client import CollectorRegistry, Metric

    from entrepot_core.blobs.probe import StoreProbe
    from entrepot_core.downloads.downloader import Downloader
    from entrepot_core.store.database import Database
    from entrepot_core.store.measures import Measures

__all__ = ["InstallationMetrics", "ShownMetrics"]

log = structlog.get_logger()

# However often and by however many it is scraped, the database is asked no more often,
EVERY_SECONDS = 15.0
# and for no more than this share of the time: of a slow one, counts are older.
_SHARE = 0.01


class ShownMetrics:
    """All metrics of an api process, at an address. ValueError if that cannot be."""

    def __init__(self, address: str, token: str, database: Database) -> None:
        self._address = address
        self._token = token
        self._database = database
        self._registry = new_registry()
        self._exposition: Exposition | None = None
        self.calls = CallMetrics(self._registry)
        self.downloads = DownloadMetrics(self._registry)
        self.times = TaskTimes(self._registry)

    def start(
        self, downloader: Downloader, free_bytes: Callable[[], int], store: StoreProbe
    ) -> None:
        """Begins to answer."""
        observe_process(self._registry, self._database, downloader)
        InstallationMetrics(self._registry, self._database, free_bytes, store)
        self._exposition = Exposition(self._registry, self._address, self._token)

    def stop(self) -> None:
        """Answers no more."""
        if self._exposition is not None:
            self._exposition.stop()


class InstallationMetrics:
    """Reads what the database knows; the same from every api process."""

    def __init__(
        self,
        registry: CollectorRegistry,
        database: Database,
        free_bytes: Callable[[], int],
        store: StoreProbe,
    ) -> None:
        """`free_bytes` says how many there are for blobs; it may raise ServiceError."""
        self._database = database
        self._free_bytes = free_bytes
        self._store = store
        self._lock = threading.Lock()
        self._known: Measures | None = None
        self._read_at = 0.0
        self._cost = 0.0
        self._due = 0.0
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """What prometheus_client asks for at each scrape."""
        with self._lock:
            known = self._current()
            yield _gauge(
                "entrepot_database_up", "Whether the database answers.", float(known is not None)
            )
            if known is not None:
                age = time.monotonic() - self._read_at
                yield _gauge(
                    "entrepot_counts_age_seconds",
                    "How long ago the numbers of tasks, locks and plugins were read.",
                    age,
                )
                yield from _families(known)
        yield _gauge(
            "entrepot_blob_store_up",
            "Whether the store for blobs works.",
            float(not self._store.fault()),
        )
        try:
            free = self._free_bytes()
        except (ServiceError, OSError) as error:
            log.warning("metrics.no_free_bytes", error=str(error))
        else:
            yield _gauge(
                "entrepot_blob_store_free_bytes",
                "Bytes that fit above the low-water mark; zero: nothing is taken any more.",
                free,
            )

    def describe(self) -> Iterator[Metric]:
        """Nothing, so that registering asks the database nothing."""
        return iter(())

    def _current(self) -> Measures | None:
        now = time.monotonic()
        if now < self._due:
            return self._known
        try:
            with self._database.transaction() as cursor:
                self._known = measures.read(cursor)
        except ServiceError as error:
            self._known = None
            log.warning("metrics.no_counts", error=error.message)
        self._read_at = time.monotonic()
        self._cost = self._read_at - now
        self._due = self._read_at + max(EVERY_SECONDS, self._cost / _SHARE)
        return self._known


def _families(known: Measures) -> Iterator[Metric]:
    tasks = GaugeMetricFamily(
        "entrepot_tasks", "Tasks that are not over.", labels=("state", "plugin", "type")
    )
    for (state, task_type), count in sorted(known.tasks.items()):
        tasks.add_metric((state, task_type.partition("/")[0], task_type), count)
    yield tasks
    locks = GaugeMetricFamily(
        "entrepot_locks", "Locks of tasks, held and waited for.", labels=("state",)
    )
    locks.add_metric(("held",), known.locks.held)
    locks.add_metric(("waiting",), known.locks.waiting)
    yield locks
    yield _gauge("entrepot_lock_queues", "Resources that a task waits for.", known.locks.queues)
    yield _gauge(
        "entrepot_events_lag_seconds",
        "Age of the oldest event that no stream has sent yet.",
        known.unnumbered_seconds,
    )
    up = GaugeMetricFamily(
        "entrepot_plugin_up", "Whether a plugin takes tasks.", labels=("plugin",)
    )
    running = GaugeMetricFamily(
        "entrepot_plugin_attempts", "Attempts that a plugin runs.", labels=("plugin",)
    )
    most = GaugeMetricFamily(
        "entrepot_plugin_attempts_max", "Attempts that it may run at once.", labels=("plugin",)
    )
    for row in known.plugins:
        up.add_metric((row.name,), float(row.health == "serving"))
        running.add_metric((row.name,), row.running)
        most.add_metric((row.name,), row.max_running)
    yield from (up, running, most)


def _gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, words, value=value)
