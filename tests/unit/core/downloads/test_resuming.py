"""Broken transfers are gone on with where they broke, if that is safe."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from download_client import Client, expecting
from entrepot_core.domain.errors import (
    DigestMismatchError,
    DownloadFailedError,
    SizeMismatchError,
)
from entrepot_core.downloads.arrival import Arrival, VerifyingSink
from entrepot_core.downloads.remote import Remote
from entrepot_core.downloads.request import Download, Source
from entrepot_sdk.testing import Upstream
from entrepot_sdk.testing.upstream import Exchange
from entrepot_sdk.testing.upstream.honest import tag_of

DATA = b"0123456789abcdef" * 4096
MIB = 1024 * 1024
HALF = len(DATA) // 2


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """A client that may ask this machine."""
    with Client(tmp_path) as client:
        yield client


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """An upstream without paths."""
    with Upstream() as upstream:
        yield upstream


def ranges_asked(upstream: Upstream) -> list[str]:
    """What each request asked for, empty if for everything."""
    return [request.headers.get("range", "") for request in upstream.requests]


async def a_mebibyte(exchange: Exchange) -> None:
    """One MiB of what is asked for, then the end of the connection."""
    offset = exchange.request.offset or 0
    rest = exchange.body[offset:]
    headers = [("ETag", '"one"')]
    if offset:
        size = len(exchange.body)
        headers.append(("Content-Range", f"bytes {offset}-{size - 1}/{size}"))
    await exchange.send(206 if offset else 200, rest[:MIB], headers, length=len(rest))


def test_a_broken_transfer_is_gone_on_with(client: Client, upstream: Upstream) -> None:
    """After half of the file, the other half is asked for, of the same version, and no more."""
    upstream.add("/a", DATA, "ranges")
    url = upstream.add("/a", DATA, "halves", times=1)

    fetched, data = client.get(url)

    assert data == DATA
    assert fetched.blob is not None
    assert fetched.blob.digest == hashlib.sha256(DATA).digest()
    assert ranges_asked(upstream) == ["", f"bytes={HALF}-"]
    assert upstream.requests[1].headers["if-range"] == fetched.etag


@pytest.mark.parametrize("behaviour", ["reset", "stall"])
def test_other_ends_are_gone_on_from_too(
    client: Client, upstream: Upstream, behaviour: str
) -> None:
    """A reset or a stall costs only what had not come, if the upstream names the version."""

    async def half(exchange: Exchange) -> None:
        await exchange.send(200, DATA[:HALF], [("ETag", tag_of(DATA))], length=len(DATA))
        if behaviour == "stall":
            await exchange.released.wait()
        else:
            exchange.reset()

    upstream.add("/a", DATA, "ranges")
    url = upstream.add("/a", DATA, half, times=1)

    # Long enough for the second try on any machine.
    _, data = client.get(url, limits=Remote(1, max_retries=1, stall_timeout_seconds=1))

    assert data == DATA


def test_what_gets_on_is_not_given_up(client: Client, upstream: Upstream) -> None:
    """An upstream that closes after each MiB is asked until the file is there."""
    body = bytes(range(256)) * 4096 * 6 + b"end"
    url = upstream.add("/a", body, a_mebibyte)

    _, data = client.get(url, limits=Remote(1, max_retries=1))

    assert data == body
    assert ranges_asked(upstream) == ["", *(f"bytes={n * MIB}-" for n in range(1, 7))]


def test_what_does_not_get_on_is_given_up(client: Client, upstream: Upstream) -> None:
    """Tries that bring next to nothing are counted like any other that fail."""
    url = upstream.add("/a", DATA, "halves")

    error = client.fail(url, limits=Remote(1, max_retries=4))

    assert isinstance(error, DownloadFailedError)
    assert error.retryable
    assert "broke off" in error.message
    assert upstream.hits["/a"] == 5


def test_who_takes_no_ranges_is_asked_for_all(client: Client, upstream: Upstream) -> None:
    """An answer with the whole file to a request for its rest is taken as the whole file."""
    url = upstream.add("/a", DATA, "ignores_range")

    _, data = client.get(url, expected=expecting(DATA, "sha256"))

    assert data == DATA
    assert upstream.hits["/a"] == 2


def test_a_file_that_changed_begins_anew(client: Client, upstream: Upstream) -> None:
    """When the file is another one by now, nothing of the first is kept."""
    _, data = client.get(upstream.add("/a", DATA, "changing"))

    assert data == DATA
    assert upstream.hits["/a"] == 2


def test_a_range_of_another_version_is_refused(client: Client, upstream: Upstream) -> None:
    """A rest that has another ETag than the beginning is not put to it."""
    _, data = client.get(upstream.add("/a", DATA, "ignores_if_range"))

    assert data == DATA
    assert ranges_asked(upstream) == ["", f"bytes={HALF}-", ""]


def test_pieces_that_do_not_fit_are_fetched_anew(client: Client, upstream: Upstream) -> None:
    """Halves of different files fail the digest; then the whole is asked for, without ranges."""

    async def mixed(exchange: Exchange) -> None:
        offset = exchange.request.offset
        tag = ("ETag", '"always the same"')
        if offset is not None:
            shown = f"bytes {offset}-{len(DATA) - 1}/{len(DATA)}"
            await exchange.send(206, DATA[offset:], [tag, ("Content-Range", shown)])
        elif exchange.number:
            await exchange.send(200, DATA, [tag])
        else:
            await exchange.send(200, bytes(HALF), [tag], length=len(DATA))

    _, data = client.get(upstream.add("/a", DATA, mixed), expected=expecting(DATA, "sha256"))

    assert data == DATA
    assert ranges_asked(upstream) == ["", f"bytes={HALF}-", ""]


def test_wrong_pieces_are_not_tried_for_ever(client: Client, upstream: Upstream) -> None:
    """A whole that is wrong is the end, after pieces as without them."""

    async def mixed(exchange: Exchange) -> None:
        offset = exchange.request.offset
        tag = ("ETag", '"always the same"')
        if offset is not None:
            shown = f"bytes {offset}-{len(DATA) - 1}/{len(DATA)}"
            await exchange.send(206, bytes(len(DATA) - offset), [tag, ("Content-Range", shown)])
        elif exchange.number:
            await exchange.send(200, bytes(len(DATA)), [tag])
        else:
            await exchange.send(200, DATA[:HALF], [tag], length=len(DATA))

    error = client.fail(upstream.add("/a", DATA, mixed), expected=expecting(DATA, "sha256"))

    assert isinstance(error, DigestMismatchError)
    assert upstream.hits["/a"] == 3


def test_another_range_than_asked_is_a_failure(client: Client, upstream: Upstream) -> None:
    """A part of the file that was not asked for is refused, and no range asked for again."""
    upstream.add("/a", DATA, "ok")
    url = upstream.add("/a", DATA, "wrong_range", times=2)

    _, data = client.get(url)
    assert data == DATA
    assert ranges_asked(upstream) == ["", f"bytes={HALF}-", ""]


def test_another_range_than_asked_says_which(client: Client, upstream: Upstream) -> None:
    """The message about a wrong part says what came instead of what."""
    url = upstream.add("/a", DATA, "wrong_range")

    error = client.fail(url, limits=Remote(1, max_retries=1))

    assert f'"bytes 0-65535/65536" instead of bytes {HALF}-' in error.message


def test_a_range_that_nobody_asked_for_is_refused(client: Client, upstream: Upstream) -> None:
    """206 to a request for the whole file is no file."""
    error = client.fail(upstream.add("/a", DATA, "unasked_range"))

    assert "answered 206" in error.message


def test_a_shorter_range_is_gone_on_from(client: Client, upstream: Upstream) -> None:
    """A server may answer with less than was asked for; the rest of it is asked for then."""

    async def bit_by_bit(exchange: Exchange) -> None:
        offset = exchange.request.offset
        if offset is None:
            await exchange.send(200, DATA[:HALF], [("ETag", '"one"')], length=len(DATA))
            return
        last = min(offset + HALF // 2, len(DATA)) - 1
        shown = f"bytes {offset}-{last}/{len(DATA)}"
        headers = [("ETag", '"one"'), ("Content-Range", shown)]
        await exchange.send(206, DATA[offset : last + 1], headers)

    _, data = client.get(upstream.add("/a", DATA, bit_by_bit))

    assert data == DATA


@pytest.mark.parametrize(
    ("headers", "resumes"),
    [
        ([("ETag", '"a"')], True),
        ([("ETag", 'W/"a"')], False),
        ([("ETag", "a")], False),
        ([("ETag", '"a\x0b"')], False),
        ([("ETag", '"a"'), ("Accept-Ranges", "none")], False),
        ([("ETag", '"a"'), ("Content-Encoding", "gzip")], False),
        ([], False),
        ([("Last-Modified", "Mon, 02 Jan 2023 03:04:05 GMT")], False),
        (
            [
                ("Last-Modified", "Mon, 02 Jan 2023 03:04:05 GMT"),
                ("Date", "Mon, 02 Jan 2023 03:04:06 GMT"),
            ],
            True,
        ),
        (
            [
                ("Last-Modified", "Mon, 02 Jan 2023 03:04:05 GMT"),
                ("Date", "Mon, 02 Jan 2023 03:04:05 GMT"),
            ],
            False,
        ),
        ([("Last-Modified", "yesterday"), ("Date", "today")], False),
    ],
)
def test_which_versions_can_be_gone_on_with(
    client: Client, upstream: Upstream, headers: list[tuple[str, str]], *, resumes: bool
) -> None:
    """Only a strong ETag, or a date that is certain, names one version (RFC 9110 13.1.5)."""

    async def half(exchange: Exchange) -> None:
        await exchange.send(200, DATA[:HALF], headers, length=len(DATA))

    upstream.add("/a", DATA)
    client.get(upstream.add("/a", DATA, half, times=1))

    assert ranges_asked(upstream) == ["", f"bytes={HALF}-" if resumes else ""]


def test_a_refusal_between_costs_nothing(client: Client, upstream: Upstream) -> None:
    """A 503 between two halves is waited for, and the second half asked for then."""
    upstream.add("/a", DATA, "ranges")
    upstream.add("/a", behaviour="busy", status=503, retry_after=0, times=1)
    url = upstream.add("/a", DATA, "halves", times=1)

    _, data = client.get(url)

    assert data == DATA
    assert ranges_asked(upstream) == ["", f"bytes={HALF}-", f"bytes={HALF}-"]


def test_another_source_begins_anew(client: Client, upstream: Upstream) -> None:
    """What a source sent is not put together with what another one has."""
    first = upstream.add("/a", bytes(len(DATA)), "halves", times=1)
    second = upstream.add("/b", DATA, "ranges")

    _, data = client.get(first, second)

    assert data == DATA
    assert upstream.requests[-1].headers.get("range") is None


def test_a_client_that_streams_notices_nothing(client: Client, upstream: Upstream) -> None:
    """Bytes that go on to a client as they come go on after a break where they were."""
    body = bytes(range(256)) * 4096 * 5
    url = upstream.add("/a", body, a_mebibyte)
    download = Download((Source(url, Remote(1)),), expecting(body, "sha256"))

    arrival = Arrival(VerifyingSink(), is_read=True, verify_first=False)
    future = client.downloader.submit(download, arrival)
    future.add_done_callback(lambda done: arrival.end(done.exception()))

    assert b"".join(arrival.chunks(arrival.reader())) == body
    arrival.close()


def test_the_most_holds_for_all_pieces_together(client: Client, upstream: Upstream) -> None:
    """A file cannot be larger than allowed by coming in pieces."""
    body = bytes(4 * MIB)

    async def unknown(exchange: Exchange) -> None:
        offset = exchange.request.offset or 0
        headers = [("ETag", '"one"')]
        if offset:
            headers.append(("Content-Range", f"bytes {offset}-{offset + MIB}/*"))
        piece = body[:MIB]
        await exchange.send(206 if offset else 200, piece, headers, length=MIB + 1)

    error = client.fail(upstream.add("/a", body, unknown), max_bytes=3 * MIB)

    assert isinstance(error, SizeMismatchError)
    assert error.metadata["expected"] == str(3 * MIB)
    assert upstream.hits["/a"] == 4
