"""Metrics of HTTP requests, around an application. Imported only where metrics are shown."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import Counter, Histogram

from entrepot_gateway.route import ROUTE

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from starlette.types import Message, Receive, Scope, Send

    from entrepot_gateway.server import Application

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Measured:
    """The application, counted. What a client chooses never becomes a label."""

    def __init__(
        self, application: Application, unmatched: str, registry: CollectorRegistry
    ) -> None:
        """`unmatched` is the route of what the application says no route of."""
        self._application = application
        self._unmatched = unmatched
        self._requests = Counter(
            "entrepot_http_requests",
            "Requests that were answered, by route, method and status.",
            ("route", "method", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "entrepot_http_request_seconds",
            "How long requests took, to the last byte that was handed to the server.",
            ("route", "method"),
            buckets=_SECONDS,
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        # Of who leaves before there is an answer, as nginx says it.
        status = 499

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = time.perf_counter()
        try:
            await self._application(scope, receive, watch)
        finally:
            route = scope.get(ROUTE, self._unmatched)
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._requests.labels(route, method, str(status)).inc()
            self._seconds.labels(route, method).observe(time.perf_counter() - began)

    def end_streams(self) -> None:
        """End the answers that would not end by themselves."""
        self._application.end_streams()
