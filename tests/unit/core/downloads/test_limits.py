"""How often, how many at once, how long: what limits downloads, and what is tried again."""

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from addresses import free_addresses
from download_client import Client
from entrepot_core.domain.errors import Code, DownloadFailedError
from entrepot_core.downloads.failure import retry_after
from entrepot_core.downloads.gate import Gates
from entrepot_core.downloads.remote import Remote
from entrepot_core.downloads.request import BatchSink, Download, Source
from entrepot_sdk.testing import Upstream
from entrepot_sdk.testing.upstream import Exchange

DATA = b"0123456789" * 1000


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """A client that may ask this machine, with two connections to a host."""
    with Client(tmp_path, host_connections=2) as client:
        yield client


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """An upstream without paths."""
    with Upstream() as upstream:
        yield upstream


def test_the_rate_is_shared_and_even() -> None:
    """Many who ask one remote go one by one, as far from each other as the rate says."""
    remote = Remote(1, rate_limit=200, max_concurrency=100)
    turns: list[float] = []

    async def ask(gates: Gates) -> None:
        async with gates.enter(remote), gates.ask(remote, "h"):
            turns.append(time.monotonic())

    async def ask_all() -> None:
        gates = Gates()
        await asyncio.gather(*(ask(gates) for _ in range(12)))

    began = time.monotonic()
    asyncio.run(ask_all())

    assert all(turn - began >= index / 200 - 0.001 for index, turn in enumerate(sorted(turns)))


def test_each_request_takes_a_turn(client: Client, upstream: Upstream) -> None:
    """Repeated tries and redirects are requests, too."""
    upstream.add("/b", DATA)
    upstream.add("/a", behaviour="redirect", location="/b")
    url = upstream.add("/a", behaviour="status", status=503, times=1)
    began = time.monotonic()

    client.get(url, limits=Remote(1, rate_limit=20))

    assert len(upstream.requests) == 3
    assert time.monotonic() - began >= 2 / 20


def test_a_host_has_a_budget(client: Client, upstream: Upstream) -> None:
    """Remotes that name the same host share its connections, whatever each of them allows."""
    most = open_now = 0
    arrived = threading.Semaphore(0)

    async def held(exchange: Exchange) -> None:
        nonlocal most, open_now
        open_now += 1
        most = max(most, open_now)
        arrived.release()
        await exchange.released.wait()
        open_now -= 1
        await exchange.send(200, DATA)

    urls = [upstream.add(f"/{number}", behaviour=held) for number in range(6)]
    with client.store.begin() as batch:
        futures = [
            client.downloader.submit(Download((Source(url, Remote(number)),)), BatchSink(batch))
            for number, url in enumerate(urls)
        ]
        for _ in range(2):
            assert arrived.acquire(timeout=30)
        upstream.release()
        for future in futures:
            future.result(30)

    assert most == 2


def test_a_total_timeout_ends_a_trickle(client: Client, upstream: Upstream) -> None:
    """What comes too slowly for the total timeout is given up, though it never stalls."""
    url = upstream.add("/a", DATA, "trickle", pause_ms=5)

    # Long enough to ask on any machine.
    error = client.fail(url, limits=Remote(1, total_timeout_seconds=1))

    assert isinstance(error, DownloadFailedError)
    assert "took longer than total_timeout_seconds, 1 s" in error.message
    assert not error.retryable
    assert upstream.hits["/a"] == 1


def test_the_total_timeout_is_for_all_tries(client: Client, upstream: Upstream) -> None:
    """Tries that each end in time end all together when their time is over."""
    url = upstream.add("/a", DATA, "stall")
    remote = Remote(1, max_retries=20, stall_timeout_seconds=0.1, total_timeout_seconds=0.25)

    error = client.fail(url, limits=remote)

    assert "total_timeout_seconds" in error.message
    assert upstream.hits["/a"] <= 3


def test_a_trickle_is_a_stall(client: Client, upstream: Upstream) -> None:
    """A byte now and then does not keep a download alive."""
    url = upstream.add("/a", DATA, "trickle", pause_ms=5)

    error = client.fail(url, limits=Remote(1, max_retries=0, stall_timeout_seconds=0.5))

    assert "stalled: " in error.message
    assert error.retryable  # type: ignore[attr-defined]


def test_a_slow_source_that_gets_on_is_waited_for(client: Client, upstream: Upstream) -> None:
    """A download may take longer than the stall timeout, if something comes."""
    # A busy machine may be late with a piece, but not by nine tenths of a second.
    url = upstream.add("/a", DATA, "slow", pieces=11, pause_ms=100)

    _, data = client.get(url, limits=Remote(1, max_retries=0, stall_timeout_seconds=1))

    assert data == DATA


@pytest.mark.parametrize("behaviour", ["continues", "silent"])
def test_an_answer_must_begin_in_time(client: Client, upstream: Upstream, behaviour: str) -> None:
    """Neither silence nor 100 Continue for ever keeps a download alive."""
    url = upstream.add("/a", DATA, behaviour)

    error = client.fail(url, limits=Remote(1, max_retries=0, stall_timeout_seconds=0.1))

    assert "stalled" in error.message


def test_a_refused_connection_is_final_for_the_task(client: Client) -> None:
    """A host that refuses is tried as often as the remote says, and the task ends with it."""
    (nobody,) = free_addresses(1)

    error = client.fail(f"http://{nobody}/a", limits=Remote(1, max_retries=2))

    assert isinstance(error, DownloadFailedError)
    assert "cannot be reached: Connection refused" in error.message
    assert not error.retryable
    assert error.code == Code.FAILED_PRECONDITION


def test_a_hang_up_may_pass(client: Client, upstream: Upstream) -> None:
    """A host that closes without an answer, and then gives one, has cost a try."""
    url = upstream.add("/a", DATA, "ranges")
    upstream.add("/a", behaviour="hangs_up", times=1)

    _, data = client.get(url, limits=Remote(1, max_retries=1))

    assert data == DATA


def test_a_name_that_nobody_knows_is_asked_for_once(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host name that does not exist fails at once, and says that this is why."""
    import socket  # noqa: PLC0415  what is patched

    asked = []

    def unknown(host: str, *_: object, **__: object) -> None:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    error = client.fail("http://mirror.invalid/a", limits=Remote(1, max_retries=5))

    assert "its host name cannot be resolved" in error.message
    assert asked == ["mirror.invalid"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        (" 120 ", 120),
        ("99999999999999", 86_400),
        ("9" * 400, None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("\u00b2", None),
        ("\u0661", None),
        ("", None),
        (None, None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2015 07:28:00", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400),
        ("Mon, 99 Foo 2015 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_read_with_care(text: str | None, seconds: float | None) -> None:
    """Seconds and dates of RFC 9110 10.2.3 are understood, and nothing else breaks us."""
    assert retry_after(text) == seconds


def test_retry_after_may_be_a_date() -> None:
    """A date says how long from now."""
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)

    found = retry_after(later)

    assert found is not None
    assert 80 < found <= 90


def test_a_remote_that_is_busy_is_left_alone_by_all(client: Client, upstream: Upstream) -> None:
    """While Retry-After lasts, no download of the remote asks it."""
    times: list[float] = []

    async def stamped(exchange: Exchange) -> None:
        times.append(time.monotonic())
        if len(times) == 1:
            await exchange.send(429, b"", [("Retry-After", "1")])
        else:
            await exchange.send(200, DATA)

    urls = [upstream.add(f"/{number}", behaviour=stamped) for number in range(2)]
    remote = Remote(1, max_concurrency=1)
    with client.store.begin() as batch:
        futures = [
            client.downloader.submit(Download((Source(url, remote),)), BatchSink(batch))
            for url in urls
        ]
        for future in futures:
            future.result(30)

    assert len(times) == 3
    assert times[1] - times[0] >= 0.95
