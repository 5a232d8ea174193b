"""Runs an ASGI application on granian until it is told to stop.

One worker lives in this process and its event loop, so that SIGTERM ends streams before it ends
connections. Several are granian's own processes, each with an application of its own.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from granian import Granian
from granian.constants import Interfaces
from granian.http import HTTP1Settings, HTTP2Settings
from granian.server.embed import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

    from entrepot_gateway.config import Config

# Slow header fields, and more of them than any honest client sends.
# The same buffer is for what is sent: half of it costs large files a fifth of their speed.
_HTTP1 = HTTP1Settings(header_read_timeout=10_000, max_buffer_size=512 * 1024)
_HTTP2 = HTTP2Settings(max_concurrent_streams=100, max_headers_size=64 * 1024)
_GRACE_SECONDS = 5


class Application(Protocol):
    """What is served: an ASGI application that can be told to end what goes on for ever."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

    def end_streams(self) -> None:
        """End the answers that would not end by themselves."""


async def serve(application: Application, config: Config, ready: Callable[[], None]) -> None:
    """Serve with one worker until SIGTERM or SIGINT.

    Raises:
        OSError: the address is not free.

    """
    _check_free(config)
    server = Server(
        application,
        address=config.host,
        port=config.port,
        **_options(),
    )
    loop = asyncio.get_running_loop()

    def stop() -> None:
        application.end_streams()
        server.stop()  # type: ignore[no-untyped-call]

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    serving = loop.create_task(server.serve())
    await _until_open(config, serving)
    ready()
    await serving


def serve_many(make: Callable[[], Application], config: Config, ready: Callable[[], None]) -> None:
    """Serve with several worker processes until SIGTERM or SIGINT.

    Raises:
        OSError: the address is not free.

    """
    _check_free(config)
    server = Granian(
        "entrepot_gateway",
        address=config.host,
        port=config.port,
        workers=config.workers,
        workers_kill_timeout=_GRACE_SECONDS,
        **_options(),
    )
    server.on_startup(ready)
    server.serve(target_loader=partial(LateApplication, make))


class LateApplication:
    """An application that is made when its worker has an event loop."""

    def __init__(self, make: Callable[[], Application], *_: object) -> None:
        self._make = make
        self._made: Application | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on."""
        if self._made is None:
            self._made = self._make()
        await self._made(scope, receive, send)


def _options() -> dict[str, Any]:
    return {
        "interface": Interfaces.ASGI,
        "websockets": False,
        "log_enabled": False,
        "log_access": False,
        "http1_settings": _HTTP1,
        "http2_settings": _HTTP2,
        "backlog": 1024,
    }


def _check_free(config: Config) -> None:
    """Refuse an address that is taken: granian would share it, and half the requests go astray."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((config.host, config.port))


async def _until_open(config: Config, serving: asyncio.Task[None]) -> None:
    """Wait until a connection is accepted, or serving has failed."""
    host = "127.0.0.1" if config.host == "0.0.0.0" else config.host  # noqa: S104
    while not serving.done():
        try:
            _, writer = await asyncio.open_connection(host, config.port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
    await serving
