"""Metrics of requests."""

import pytest
from prometheus_client import CollectorRegistry
from starlette.types import Message, Receive, Scope, Send

from entrepot_gateway.measured import Measured
from entrepot_gateway.route import ROUTE


class Application:
    """Answers 200 where it knows the route, and nothing to who leaves."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        if scope["path"] == "/left":
            return
        if scope["path"].startswith("/known/"):
            scope[ROUTE] = "/known/*"
        await send({"type": "http.response.start", "status": 200, "headers": []})

    def end_streams(self) -> None:
        """Nothing goes on."""


@pytest.mark.parametrize(
    ("path", "method", "labels"),
    [
        ("/known/a", "GET", {"route": "/known/*", "method": "GET", "status": "200"}),
        ("/elsewhere", "GET", {"route": "unmatched", "method": "GET", "status": "200"}),
        ("/known/b", "BREW", {"route": "/known/*", "method": "other", "status": "200"}),
        ("/left", "GET", {"route": "unmatched", "method": "GET", "status": "499"}),
    ],
)
async def test_what_a_client_chooses_is_no_label(
    path: str, method: str, labels: dict[str, str]
) -> None:
    """A request is counted by the template of its path and a method that is known."""
    registry = CollectorRegistry()
    application = Measured(Application(), "unmatched", registry)

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(_message: Message) -> None:
        pass

    await application({"type": "http", "path": path, "method": method}, receive, send)

    assert registry.get_sample_value("entrepot_http_requests_total", labels) == 1
