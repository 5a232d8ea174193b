"""Metrics of downloads. Imported only where metrics are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from entrepot_core.downloads.downloader import Downloader
    from entrepot_core.store.database import Database

__all__ = ["MOST_HOSTS", "OTHER", "DownloadMetrics", "observe_process"]

# Whoever may make a remote chooses its host, so only so many get a label of their own.
MOST_HOSTS = 50
OTHER = "other"

_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class DownloadMetrics:
    """Counts what downloads bring, and what fails."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._hosts: set[str] = set()
        self._files = Counter(
            "entrepot_download_files",
            "Files that upstreams sent, or said had not changed, by host.",
            ("host",),
            registry=registry,
        )
        self._bytes = Counter(
            "entrepot_download_bytes", "Bytes of these files.", ("host",), registry=registry
        )
        self._errors = Counter(
            "entrepot_download_errors",
            "Sources that were asked in vain, after all tries, by host and reason.",
            ("host", "reason"),
            registry=registry,
        )
        self._seconds = Histogram(
            "entrepot_download_seconds",
            "How long a file took, tries and waiting for a turn included.",
            buckets=_SECONDS,
            registry=registry,
        )

    def fetched(self, host: str, size_bytes: int, seconds: float) -> None:
        """See DownloadObserver."""
        label = self._label(host)
        self._files.labels(label).inc()
        self._bytes.labels(label).inc(size_bytes)
        self._seconds.observe(seconds)

    def failed(self, host: str, reason: str, seconds: float) -> None:
        """See DownloadObserver."""
        self._errors.labels(self._label(host), reason).inc()
        self._seconds.observe(seconds)

    def _label(self, host: str) -> str:
        if host not in self._hosts:
            if len(self._hosts) >= MOST_HOSTS:
                return OTHER
            self._hosts.add(host)
        return host


def observe_process(
    registry: CollectorRegistry, database: Database, downloader: Downloader
) -> None:
    """Gauges of what every process of core has: connections to the database, and a downloader."""
    connections = Gauge(
        "entrepot_database_connections",
        "Connections of the process to the database: in use, and how many more there may be.",
        ("state",),
        registry=registry,
    )
    connections.labels("used").set_function(lambda: database.connections()[0])
    connections.labels("free").set_function(lambda: database.connections()[1])
    Gauge(
        "entrepot_download_cooldowns",
        "Hosts and files that are left alone for a while, as they have just failed.",
        registry=registry,
    ).set_function(lambda: downloader.cooling)
