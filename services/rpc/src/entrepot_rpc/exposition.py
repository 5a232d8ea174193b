"""Metrics as Prometheus reads them, at an address of their own in each process.

Imported only where there is such an address, so that who has none does not pay for it.
"""

from __future__ import annotations

import hmac
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from entrepot_rpc import setting

__all__ = ["Exposition", "new_registry"]

PATH = "/metrics"


def new_registry() -> CollectorRegistry:
    """A registry with what is known of every process: memory, processor time, open files."""
    # When a series began is of no use to anybody here, and each costs a line.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class Exposition:
    """Answers GET /metrics at one address, in a thread.

    Args:
        registry: What is shown.
        address: host:port.
        token: What `Authorization: Bearer` must carry; empty: nothing, which is for loopback only.
        ports: How many ports are tried, from that of the address on, as workers share a setting.

    Raises ValueError if the address is none, or can be reached by others without a token; OSError
    if no port is free.
    """

    def __init__(
        self, registry: CollectorRegistry, address: str, token: str, ports: int = 1
    ) -> None:
        # Also here, so that nothing is shown to others whoever asks for it.
        setting.metrics({"ENTREPOT_METRICS": address, "ENTREPOT_METRICS_TOKEN": token})
        host, _, port = address.rpartition(":")
        self._server = _listen(host.strip("[]"), int(port), ports, _handler(registry, token))
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="metrics", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that was taken."""
        return self._server.server_port

    def stop(self) -> None:
        """Answers no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A scrape is a request every few seconds: who opens more connections waits.
    request_queue_size = 16


def _listen(host: str, port: int, ports: int, handler: type[BaseHTTPRequestHandler]) -> _Server:
    for tried in range(ports):
        try:
            return _Server((host, port + tried), handler)
        except OSError as error:
            if tried == ports - 1:
                raise OSError(
                    error.errno, f"ENTREPOT_METRICS: cannot listen on {host}:{port}: {error}"
                ) from error
    raise AssertionError  # at least one port is tried


def _handler(registry: CollectorRegistry, token: str) -> type[BaseHTTPRequestHandler]:
    wanted = f"Bearer {token}".encode()

    class Handler(BaseHTTPRequestHandler):
        timeout = 10
        server_version = "entrepot"
        sys_version = ""

        def do_GET(self) -> None:
            given = self.headers.get("Authorization", "").encode("utf-8", "replace")
            if token and not hmac.compare_digest(given, wanted):
                self._answer(401, b"The token of ENTREPOT_METRICS_TOKEN is needed.\n")
            elif self.path.partition("?")[0] != PATH:
                self._answer(404, b"Metrics are at /metrics.\n")
            else:
                encode, content_type = choose_encoder(self.headers.get("Accept", ""))
                self._answer(200, encode(registry), content_type)

        def log_message(self, *_: object) -> None:
            pass

        def _answer(
            self, status: int, body: bytes, content_type: str = "text/plain; charset=utf-8"
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            if status == 401:  # noqa: PLR2004
                self.send_header("WWW-Authenticate", "Bearer")
            self.end_headers()
            self.wfile.write(body)

    return Handler
