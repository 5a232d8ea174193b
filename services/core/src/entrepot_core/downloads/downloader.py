"""The downloader: one event loop in a thread of its own, asked by all other threads."""

from __future__ import annotations

import asyncio
import random
import threading
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, TypeVar

import aiohttp
import structlog

from entrepot_core.domain.errors import Code, DownloadFailedError, FieldInvalidError
from entrepot_core.downloads.address import AddressPolicy
from entrepot_core.downloads.cooldown import Cooldowns
from entrepot_core.downloads.exchange import exchange
from entrepot_core.downloads.failure import Failure
from entrepot_core.downloads.gate import HOST_CONNECTIONS, Gates
from entrepot_core.downloads.observer import UNOBSERVED
from entrepot_core.downloads.route import Routes
from entrepot_core.downloads.transfer import Transfer
from entrepot_core.downloads.url import host_of
from entrepot_rpc import tracing

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future
    from typing import Any

    from entrepot_core.domain.errors import ServiceError
    from entrepot_core.downloads.address import Network
    from entrepot_core.downloads.observer import DownloadObserver
    from entrepot_core.downloads.request import Download, Fetched, Sink, Source

__all__ = ["Downloader"]

log = structlog.get_logger()

T = TypeVar("T")

_LONGEST_BACKOFF = 30.0
# Who would rather hear of a failure than wait does not wait longer for an upstream that says when.
_LONGEST_PATIENCE = 5.0
_CONNECTIONS = 200
# A broken transfer that was gone on with and brought as much is not a try in vain.
_PROGRESS_BYTES = 1024**2


class Downloader:
    """Fetches from upstreams. Safe to use from any thread.

    Args:
        allow_loopback: Whether upstreams may be on this machine.
        refused_networks: Where they may not be, besides link-local addresses and their like.
        host_connections: How many requests one host gets at once.
        backoff_seconds: Before the second try, on average; doubles with each further one.
        observer: Told of every source that was asked.
    """

    def __init__(
        self,
        *,
        allow_loopback: bool,
        refused_networks: tuple[Network, ...] = (),
        host_connections: int = HOST_CONNECTIONS,
        backoff_seconds: float = 0.5,
        observer: DownloadObserver = UNOBSERVED,
    ) -> None:
        self._host_connections = host_connections
        self._observer = observer
        self._addresses = AddressPolicy(allow_loopback, refused_networks)
        self._backoff_seconds = backoff_seconds
        self._loop = asyncio.new_event_loop()
        self._is_closing = False
        self._session: aiohttp.ClientSession
        self._gates: Gates
        self._routes: Routes
        self._cooldowns: Cooldowns
        started = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(started,), name="downloader", daemon=True
        )
        self._thread.start()
        started.wait()

    def submit(self, download: Download, sink: Sink) -> Future[Fetched]:
        """Begins a download; cancelling the future ends it.

        The future fails with DownloadFailedError, SizeMismatchError, DigestMismatchError or
        AddressForbiddenError of the first source, or with what the sink raises.
        """
        return self.run(self._fetch(download, sink))

    def run(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Runs a coroutine in the downloader's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Calls something in the downloader's loop; nothing if that has ended."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback)

    async def fetch(self, download: Download, sink: Sink) -> Fetched:
        """The same, inside the loop."""
        if not download.sources:
            raise FieldInvalidError.at("sources", "there is no source to fetch from.")
        failures: list[Failure] = []
        for source in download.sources:
            if download.heeds_cooldown and (refusal := self._cooldowns.refusal(source)):
                failures.append(refusal)
                continue
            began, host = self._loop.time(), host_of(source.url)
            try:
                with tracing.span("download", "client", server_address=host):
                    fetched = await self._fetch_from(source, download, sink)
            except Failure as failed:
                seconds = self._cooldowns.failed(source, failed)
                if download.heeds_cooldown:
                    failed.error.retry_after_seconds = seconds
                failures.append(failed)
                log.info("download.source_failed", error=failed.error.message)
                self._observer.failed(host, failed.error.reason, self._loop.time() - began)
            else:
                self._cooldowns.succeeded(source)
                size = fetched.blob.size_bytes if fetched.blob else 0
                self._observer.fetched(host, size, self._loop.time() - began)
                return fetched
            finally:
                sink.abort()
        raise _verdict(failures)

    @property
    def cooling(self) -> int:
        """How many hosts and files are left alone for a while, as they have just failed."""
        return len(self._cooldowns)

    def close(self) -> None:
        """Ends all downloads, which then fail, and the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    async def _fetch(self, download: Download, sink: Sink) -> Fetched:
        try:
            return await self.fetch(download, sink)
        except asyncio.CancelledError:
            if not self._is_closing:
                raise
            # Not the caller's wish: to whoever waits it is a failure that passes.
            error = DownloadFailedError("The process that downloaded has ended.")
            error.retryable = True
            raise error from None

    async def _fetch_from(self, source: Source, download: Download, sink: Sink) -> Fetched:
        transfer = Transfer(download, source, sink)
        tries, most = 0, 0
        while True:
            try:
                async with self._gates.enter(source.remote):
                    return await exchange(self._session, self._gates, self._routes, transfer)
            except Failure as failed:
                if transfer.offset >= most + _PROGRESS_BYTES:
                    # It gets on: only tries in vain are counted.
                    tries, most = 0, transfer.offset
                tries += 1
                if not failed.is_passing or tries > source.remote.max_retries:
                    raise
                if download.heeds_cooldown and (failed.wait_seconds or 0) > _LONGEST_PATIENCE:
                    raise
                if failed.wait_seconds is not None:
                    # It is the whole remote that is asked too often, not this file.
                    self._gates.close_for(source.remote, failed.wait_seconds)
                await asyncio.sleep(self._backoff(tries))

    def _backoff(self, tries: int) -> float:
        longest = min(_LONGEST_BACKOFF, self._backoff_seconds * float(2**tries))
        return longest * random.random()  # noqa: S311  not a secret

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._open())
        self._loop.call_soon(started.set)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._shut())
            self._loop.close()

    async def _open(self) -> None:
        self._gates = Gates(self._host_connections)
        self._routes = Routes(self._addresses)
        self._cooldowns = Cooldowns(self._loop.time)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=_CONNECTIONS, socket_factory=self._socket, ttl_dns_cache=30
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"entrepot/{version('entrepot-core')}"},
            auto_decompress=False,
            trust_env=False,
        )

    async def _shut(self) -> None:
        self._is_closing = True
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._session.close()
        await self._loop.shutdown_asyncgens()

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        # Here it is the address that is connected to, whoever resolved what before.
        family, kind, protocol, _, where = address
        return self._addresses.socket(family, kind, protocol, where[0])


def _verdict(failures: list[Failure]) -> ServiceError:
    """The error of the first source, and a word about the others."""
    error = failures[0].error
    if len(failures) > 1:
        error.message += f" The other sources ({len(failures) - 1}) failed as well."
        error.args = (error.message,)
    if isinstance(error, DownloadFailedError):
        error.retryable = any(failure.is_repeatable for failure in failures)
        if not error.retryable:
            # So that a plugin, which sees the status only, does not try again either.
            error.code = Code.FAILED_PRECONDITION
    return error
