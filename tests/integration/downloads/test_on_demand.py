"""Files fetched for clients: once for all, verified, kept or not."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from byte_rows import Rows
from entrepot_core.domain.blob import Blob
from entrepot_core.domain.errors import (
    BlobMissingError,
    DigestMismatchError,
    DownloadFailedError,
    StorageFailedError,
)
from entrepot_core.downloads.downloader import Downloader
from entrepot_core.downloads.keeper import Keeper
from entrepot_core.downloads.on_demand import OnDemand
from entrepot_sdk.testing import Upstream
from entrepot_sdk.testing.upstream import Exchange
from polling import until
from remote_keys import remotes_of

DATA = bytes(range(256)) * 4000
HALF = len(DATA) // 2


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """An upstream without paths."""
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def on_demand(keeper: Keeper, downloader: Downloader) -> Iterator[OnDemand]:
    """All but the smallest files are given out as they come."""
    yield (
        on_demand := OnDemand(
            keeper, downloader, remotes_of(keeper.database), verify_first_bytes=1000
        )
    )
    downloader.close()
    on_demand.close()


async def half(exchange: Exchange) -> None:
    """Half of the file, and the rest when the test says so."""
    await exchange.head(200, [("Content-Length", str(len(exchange.body)))])
    await exchange.write(exchange.body[:HALF])
    await exchange.released.wait()
    await exchange.write(exchange.body[HALF:])


async def wrong_in_the_end(exchange: Exchange) -> None:
    """The right length, and one wrong byte."""
    await exchange.send(200, exchange.body[:-1] + b"?")


def a_file(rows: Rows, *urls: str, data: bytes = DATA, policy: str = "on_demand") -> int:
    """A unit with the file "f", of a remote for each URL."""
    sources = [
        (rows.remote(f"r{number}", policy, max_retries=0), url) for number, url in enumerate(urls)
    ]
    return rows.unit("f", data, sources=sources)


def read(parts: Iterator[bytes | Blob]) -> tuple[bytes, list[Blob]]:
    """The bytes, and the blobs that were named."""
    data, blobs = b"", []
    for part in parts:
        if isinstance(part, bytes):
            data += part
        else:
            blobs.append(part)
    return data, blobs


def test_all_get_it_as_it_comes(on_demand: OnDemand, upstream: Upstream, rows: Rows) -> None:
    """One download serves who is early, late, slow or leaves; then it is stored."""
    unit = a_file(rows, upstream.add("/f", DATA, half))
    early = on_demand.stream(unit, "f", is_kept=True)
    slow = on_demand.stream(unit, "f", is_kept=True)
    leaves = on_demand.stream(unit, "f", is_kept=True)
    first = next(early)
    assert isinstance(first, bytes)
    next(slow)
    next(leaves)
    leaves.close()  # type: ignore[attr-defined]  # a generator

    with ThreadPoolExecutor() as pool:
        late = pool.submit(read, on_demand.stream(unit, "f", is_kept=True))
        upstream.release()
        data, blobs = late.result(30)
    rest, _ = read(early)
    again = read(on_demand.stream(unit, "f", is_kept=True))

    assert data == first + rest == DATA
    assert [blob.digest for blob in blobs] == [hashlib.sha256(DATA).digest()]
    assert again == (b"", blobs)
    assert upstream.hits["/f"] == 1
    assert read(slow)[0] != b""


def test_wrong_bytes_are_never_complete_and_never_kept(
    on_demand: OnDemand, upstream: Upstream, rows: Rows, keeper: Keeper
) -> None:
    """Whatever is given out before, the last byte of a wrong file is not; nor is it stored."""
    unit = a_file(rows, upstream.add("/f", DATA, wrong_in_the_end))
    received: list[bytes | Blob] = []

    with pytest.raises(DigestMismatchError):
        received.extend(on_demand.stream(unit, "f", is_kept=True))

    assert 0 < sum(len(part) for part in received if isinstance(part, bytes)) < len(DATA)
    assert list(keeper.store.files()) == []


def test_when_all_leave_what_is_to_be_kept_goes_on(
    on_demand: OnDemand, upstream: Upstream, rows: Rows, keeper: Keeper
) -> None:
    """It is stored all the same."""
    unit = a_file(rows, upstream.add("/f", DATA, half))
    parts = on_demand.stream(unit, "f", is_kept=True)
    next(parts)
    parts.close()  # type: ignore[attr-defined]  # a generator

    upstream.release()

    until(lambda: list(keeper.store.files()), "the file to be stored")
    assert upstream.hits["/f"] == 1


def test_when_all_leave_what_is_not_kept_ends(
    on_demand: OnDemand, upstream: Upstream, rows: Rows, keeper: Keeper
) -> None:
    """The upstream is let go, and whoever comes then has a download of his own."""
    is_let_go = threading.Event()

    async def endless(exchange: Exchange) -> None:
        await exchange.head(200)
        try:
            while True:
                await exchange.write(bytes(1000))
        finally:
            is_let_go.set()

    remote = rows.remote("r", "streamed", max_retries=0)
    unit = rows.unit("f", sources=[(remote, upstream.add("/f", b"", endless))], is_known=False)
    parts = on_demand.stream(unit, "f", is_kept=False)
    next(parts)

    parts.close()  # type: ignore[attr-defined]  # a generator
    assert is_let_go.wait(20)
    upstream.add("/f", DATA)

    assert read(on_demand.stream(unit, "f", is_kept=False)) == (DATA, [])
    assert list(keeper.store.files()) == []


def test_a_client_that_has_gone_is_noticed(
    on_demand: OnDemand, upstream: Upstream, rows: Rows
) -> None:
    """Who waits for bytes when the client leaves waits no longer."""
    unit = a_file(rows, upstream.add("/f", DATA, half))
    leave: list[Callable[[], None]] = []

    def when_gone(callback: Callable[[], None]) -> bool:
        leave.append(callback)
        return True

    parts = on_demand.stream(unit, "f", is_kept=True, when_gone=when_gone)
    next(parts)
    thread = threading.Thread(target=lambda: read(parts))
    thread.start()
    leave[0]()
    thread.join(20)

    assert not thread.is_alive()
    upstream.release()


def test_a_dead_source_is_not_asked_again_and_others_are(
    on_demand: OnDemand, upstream: Upstream, rows: Rows
) -> None:
    """Of two sources the one that is down costs one question; files of the other come."""
    dead = upstream.add("/dead", DATA, "status", status=503)
    with Upstream() as other:
        unit = a_file(rows, dead, other.add("/f", DATA))
        read(on_demand.stream(unit, "f", is_kept=False))
        data, _ = read(on_demand.stream(unit, "f", is_kept=False))

    assert data == DATA
    assert upstream.hits["/dead"] == 1
    assert other.hits["/f"] == 2


def test_a_dead_upstream_is_answered_for_at_once(
    on_demand: OnDemand, upstream: Upstream, rows: Rows
) -> None:
    """Another file of the same host is not asked for, and the error says when to come back."""
    dead = upstream.add("/dead", DATA, "status", status=503)
    upstream.add("/other", b"other")
    remote = rows.remote("one", "on_demand", max_retries=0)
    first = rows.unit("f", DATA, sources=[(remote, dead)])
    second = rows.unit("g", b"other", sources=[(remote, dead.replace("dead", "other"))])
    with pytest.raises(DownloadFailedError):
        on_demand.fetch(first, "f")

    with pytest.raises(DownloadFailedError) as caught:
        on_demand.fetch(second, "g")

    assert 0 < (caught.value.retry_after_seconds or 0) <= 10
    assert upstream.hits["/other"] == 0


def test_a_file_that_stalls_half_way_does_not_stand_for_its_host(
    on_demand: OnDemand, upstream: Upstream, rows: Rows
) -> None:
    """The host has answered, so its other files are asked for."""
    stalling = upstream.add("/stalls", DATA, "stall")
    remote = rows.remote("one", "on_demand", max_retries=0, stall_timeout_seconds=1)
    first = rows.unit("f", DATA, sources=[(remote, stalling)])
    second = rows.unit("g", b"other", sources=[(remote, upstream.add("/other", b"other"))])
    with pytest.raises(DownloadFailedError):
        on_demand.fetch(first, "f")

    assert on_demand.fetch(second, "g").size_bytes == len(b"other")


def test_an_upstream_that_wants_to_be_left_alone_is(
    on_demand: OnDemand, upstream: Upstream, rows: Rows
) -> None:
    """The client is told for how long, instead of waiting for it."""

    async def busy(exchange: Exchange) -> None:
        await exchange.send(503, b"", [("Retry-After", "30")])

    remote = rows.remote("one", "on_demand", max_retries=3)
    unit = rows.unit("f", DATA, sources=[(remote, upstream.add("/f", DATA, busy))])

    with pytest.raises(DownloadFailedError) as caught:
        on_demand.fetch(unit, "f")

    assert caught.value.retry_after_seconds == 30
    assert upstream.hits["/f"] == 1


@pytest.mark.parametrize("damage", ["missing", "short"])
def test_a_lost_blob_is_fetched_again(
    on_demand: OnDemand, upstream: Upstream, rows: Rows, keeper: Keeper, damage: str
) -> None:
    """A file that has gone from the folder, or part of it, comes again from its source."""
    unit = a_file(rows, upstream.add("/f", b"small"), data=b"small")
    blob = on_demand.fetch(unit, "f")
    path = keeper.store.path(blob.digest)  # type: ignore[attr-defined]  # a directory
    path.unlink()
    if damage == "short":
        path.write_bytes(b"sm")

    assert on_demand.fetch(unit, "f") == blob
    assert path.read_bytes() == b"small"
    assert upstream.hits["/f"] == 2


def test_a_lost_blob_without_a_source_is_said_to_be_missing(
    on_demand: OnDemand, rows: Rows, keeper: Keeper
) -> None:
    """Nothing claims to have it any more, so that it can be uploaded again."""
    blob = keeper.write([b"mine"])
    unit = rows.unit("f", b"mine")
    keeper.store.path(blob.digest).unlink()  # type: ignore[attr-defined]  # a directory

    with pytest.raises(BlobMissingError):
        on_demand.fetch(unit, "f")

    assert rows.one("SELECT count(*) FROM blob") == 0


def test_a_folder_that_cannot_be_written_fails_the_fetch_only(
    on_demand: OnDemand, upstream: Upstream, rows: Rows, keeper: Keeper
) -> None:
    """It is the storage that is said to fail, and what is stored is still served."""
    kept = on_demand.fetch(a_file(rows, upstream.add("/f", b"small"), data=b"small"), "f")
    other = rows.unit(
        "g", b"other", sources=[(rows.remote("o", "on_demand"), upstream.add("/g", b"other"))]
    )
    root = keeper.store.root  # type: ignore[attr-defined]  # a directory
    digest = hashlib.sha256(b"other").hexdigest()
    # As root may write whatever its mode says, something is in the way.
    (root / "sha256" / digest[:2]).write_text("no folder")

    with pytest.raises(StorageFailedError):
        on_demand.fetch(other, "g")

    assert b"".join(keeper.store.read(kept.digest)) == b"small"
