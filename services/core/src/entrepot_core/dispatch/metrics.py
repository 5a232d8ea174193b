"""Metrics of attempts. Imported only where metrics are shown."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from uuid import UUID

from prometheus_client import Counter, Gauge

from entrepot_core.downloads.metrics import DownloadMetrics, observe_process
from entrepot_core.plugins.task_times import TaskTimes
from entrepot_rpc.exposition import Exposition, new_registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from entrepot_core.domain.task import LossCause
    from entrepot_core.downloads.downloader import Downloader
    from entrepot_core.store.database import Database
    from entrepot_core.store.queue import Claimed

__all__ = ["AttemptMetrics", "ShownMetrics"]


class AttemptMetrics:
    """Counts attempts, and how long tasks waited and ran, by type: plugins declare those."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # Written by the thread of the attempt alone, each its own key.
        self._running: dict[int, tuple[str, float]] = {}
        self._times = TaskTimes(registry)
        self._lost = Counter(
            "entrepot_attempts_lost",
            "Attempts that did not end their task, by cause.",
            ("cause",),
            registry=registry,
        )

    def started(self, claimed: Claimed) -> None:
        """See AttemptObserver."""
        if claimed.workspace_id in self._running:
            # It was begun with others before.
            return
        self._running[claimed.workspace_id] = (claimed.task_type, time.monotonic())
        if claimed.attempt == 1:
            # Its id says when it was created (RFC 9562, section 5.7).
            created = (UUID(claimed.task_id).int >> 80) / 1000
            self._times.waited(claimed.task_type, time.time() - created)

    def settled(self, workspace_id: int, state: str) -> None:
        """See AttemptObserver."""
        known = self._running.pop(workspace_id, None)
        if known is not None:
            task_type, began = known
            self._times.ran(task_type, state, time.monotonic() - began)

    def lost(self, cause: LossCause) -> None:
        """See AttemptObserver."""
        self._lost.labels(cause.value).inc()

    def ended(self, workspace_id: int) -> None:
        """See AttemptObserver."""
        self.settled(workspace_id, "superseded")


class ShownMetrics:
    """All metrics of a dispatching process, at an address. ValueError if that cannot be."""

    def __init__(self, address: str, token: str, database: Database) -> None:
        self._address = address
        self._token = token
        self._database = database
        self._registry = new_registry()
        self._exposition: Exposition | None = None
        self.attempts = AttemptMetrics(self._registry)
        self.downloads = DownloadMetrics(self._registry)

    def start(self, downloader: Downloader, running: Callable[[], int], slots: int) -> None:
        """Begins to answer."""
        observe_process(self._registry, self._database, downloader)
        Gauge(
            "entrepot_dispatcher_attempts",
            "Attempts that the dispatcher runs.",
            registry=self._registry,
        ).set_function(running)
        Gauge(
            "entrepot_dispatcher_slots",
            "Attempts that it may run at once.",
            registry=self._registry,
        ).set(slots)
        self._exposition = Exposition(self._registry, self._address, self._token)

    def stop(self) -> None:
        """Answers no more."""
        if self._exposition is not None:
            self._exposition.stop()
