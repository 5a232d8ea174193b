"""Metrics of the calls that a gRPC server answers. Imported only where metrics are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Histogram

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["CallMetrics"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class CallMetrics:
    """Counts calls. Only registered methods are called, so their names are no one's choice."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._calls = Counter(
            "entrepot_grpc_calls",
            "Calls that were answered, by method and status.",
            ("method", "code"),
            registry=registry,
        )
        self._seconds = Histogram(
            "entrepot_grpc_call_seconds",
            "How long calls took; streams until their end.",
            ("method",),
            buckets=_SECONDS,
            registry=registry,
        )

    def answered(self, method: str, code: str, seconds: float) -> None:
        """A call has ended with a status."""
        name = method.removeprefix("/")
        self._calls.labels(name, code).inc()
        self._seconds.labels(name).observe(seconds)
