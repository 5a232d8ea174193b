"""S32: nothing that an upstream sends goes on for ever, and a known size holds to the byte."""

import asyncio

import pytest

from download_client import Client, expecting
from entrepot_core.domain.blob import Expected
from entrepot_core.domain.errors import DownloadFailedError, SizeMismatchError
from entrepot_core.downloads.remote import Remote
from entrepot_sdk.testing import Upstream
from entrepot_sdk.testing.upstream import Exchange

DATA = b"0123456789" * 1000
GIB = 1024**3
# What may be on its way between two processes, in buffers of both and of the kernel.
BUFFERED = 16 * 1024**2


def test_an_announced_gibibyte_is_not_read(client: Client, upstream: Upstream) -> None:
    """S32: a file that says it is larger than allowed is refused before its first byte."""

    async def huge(exchange: Exchange) -> None:
        await exchange.send(200, b"", length=GIB)
        while True:
            await exchange.write(bytes(65536))

    error = client.fail(upstream.add("/a", behaviour=huge), max_bytes=GIB // 4)

    assert isinstance(error, SizeMismatchError)
    assert error.metadata == {
        "url": upstream.url + "/a",
        "unit": "a/b.txt",
        "expected": str(GIB // 4),
        "actual": str(GIB),
    }
    assert upstream.sent_bytes["/a"] < BUFFERED


@pytest.mark.parametrize("size_is_known", [True, False])
def test_an_endless_body_is_cut_off(
    client: Client, upstream: Upstream, *, size_is_known: bool
) -> None:
    """S32: a body without a length is read up to the most allowed, and no further."""
    expected = Expected((), len(DATA)) if size_is_known else Expected()

    error = client.fail(
        upstream.add("/a", DATA, "endless"), expected=expected, max_bytes=1024 * 1024
    )

    assert isinstance(error, SizeMismatchError)
    assert error.metadata["expected"] == str(len(DATA) if size_is_known else 1024 * 1024)
    assert upstream.hits["/a"] == 1
    assert upstream.sent_bytes["/a"] < BUFFERED


@pytest.mark.parametrize("difference", [-1, 1])
@pytest.mark.parametrize("behaviour", ["ok", "chunked"])
def test_a_known_size_holds_to_the_byte(
    client: Client, upstream: Upstream, behaviour: str, difference: int
) -> None:
    """S32: a byte too many or too few is refused, announced or not."""
    url = upstream.add("/a", DATA, behaviour)
    expected = Expected((), len(DATA) + difference)

    error = client.fail(url, expected=expected, limits=Remote(1, max_retries=0))

    assert isinstance(error, SizeMismatchError)
    assert error.metadata["expected"] == str(len(DATA) + difference)


def test_the_most_holds_to_the_byte(client: Client, upstream: Upstream) -> None:
    """S32: as much as is allowed is taken, and a byte more is not."""
    url = upstream.add("/a", DATA, "chunked")

    assert isinstance(client.fail(url, max_bytes=len(DATA) - 1), SizeMismatchError)
    assert client.get(url, max_bytes=len(DATA))[1] == DATA


@pytest.mark.parametrize(
    ("behaviour", "limits"),
    [
        # Long enough for a byte to come in time on any machine.
        ("trickle", Remote(1, max_retries=0, stall_timeout_seconds=1)),
        ("trickle", Remote(1, max_retries=0, total_timeout_seconds=0.1)),
        ("stall", Remote(1, max_retries=0, stall_timeout_seconds=0.1)),
        ("silent", Remote(1, max_retries=0, stall_timeout_seconds=0.1)),
        ("slow_start", Remote(1, max_retries=0, stall_timeout_seconds=0.1)),
        ("continues", Remote(1, max_retries=0, stall_timeout_seconds=0.1)),
        ("endless", Remote(1, max_retries=0, total_timeout_seconds=0.2)),
    ],
)
def test_nothing_lasts_for_ever(
    client: Client, upstream: Upstream, behaviour: str, limits: Remote
) -> None:
    """S32: what comes too slowly, or not, ends by the stall timeout or the total one."""
    url = upstream.add("/a", DATA * 100, behaviour, pause_ms=1)

    error = client.fail(url, limits=limits)

    assert isinstance(error, DownloadFailedError)
    assert "stalled" in error.message or "total_timeout_seconds" in error.message


@pytest.mark.parametrize("behaviour", ["endless_headers", "huge_header"])
def test_headers_have_a_limit(client: Client, upstream: Upstream, behaviour: str) -> None:
    """S32: neither many headers nor a large one are collected."""
    error = client.fail(upstream.add("/a", DATA, behaviour))

    assert isinstance(error, DownloadFailedError)
    assert "not HTTP" in error.message
    assert not error.retryable
    assert upstream.sent_bytes["/a"] < BUFFERED


@pytest.mark.parametrize(
    "behaviour",
    ["length_twice", "length_negative", "length_garbage", "chunked_with_length", "not_http"],
)
def test_lengths_that_are_none(client: Client, upstream: Upstream, behaviour: str) -> None:
    """S32: an answer whose end nobody knows for certain is refused, and not asked for again."""
    error = client.fail(upstream.add("/a", DATA, behaviour))

    assert isinstance(error, DownloadFailedError)
    assert "not HTTP" in error.message
    assert upstream.hits["/a"] == 1


@pytest.mark.parametrize(
    "behaviour", ["length_too_small", "length_too_large", "chunked_cut", "chunked_garbage"]
)
def test_lies_about_the_length(client: Client, upstream: Upstream, behaviour: str) -> None:
    """S32: a body that is not as long as it says is not stored, whatever it begins with."""
    url = upstream.add("/a", DATA, behaviour)

    error = client.fail(url, expected=expecting(DATA, "sha256"))

    assert isinstance(error, DownloadFailedError | SizeMismatchError)


def test_garbage_in_the_middle_is_noticed(client: Client, upstream: Upstream) -> None:
    """S32: a chunk without a size, after others that were read, ends the download at some time."""

    async def garbage(exchange: Exchange) -> None:
        await exchange.head(200, [("Transfer-Encoding", "chunked")])
        await exchange.write(b"5\r\nfirst\r\n")
        await asyncio.sleep(0.1)
        await exchange.write(b"lots\r\nmore\r\n")
        await exchange.released.wait()

    limits = Remote(1, max_retries=0, stall_timeout_seconds=0.5)

    error = client.fail(upstream.add("/a", behaviour=garbage), limits=limits)

    assert isinstance(error, DownloadFailedError)
