"""The downloader against upstreams that misbehave in every way."""

import gzip
import hashlib
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from download_client import Client, expecting
from entrepot_core.domain.blob import Blob, Expected
from entrepot_core.domain.errors import (
    AddressForbiddenError,
    DigestMismatchError,
    DownloadFailedError,
    SizeMismatchError,
)
from entrepot_core.downloads.remote import Remote
from entrepot_core.downloads.request import BatchSink, Download, Source
from raw_upstream import RawUpstream, redirect, response
from upstream import Upstream, answers, lies, redirects, resets, stalls, truncates

DATA = b"the file" * 1000


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """A client that may ask this machine."""
    client = Client(tmp_path)
    yield client
    client.downloader.close()
    client.store.close()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """An upstream with one file."""
    with Upstream({"file": DATA}) as upstream:
        yield upstream


@pytest.fixture
def raw() -> Iterator[RawUpstream]:
    """An upstream that sends what it is told."""
    with RawUpstream() as raw:
        yield raw


def test_every_digest_is_verified(client: Client, upstream: Upstream) -> None:
    """A file that has all the digests it should is stored under its SHA-256."""
    expected = expecting(DATA, "sha256", "sha1", "md5", "sha224", "sha384", "sha512")

    fetched, data = client.get(upstream.url + "file", expected=expected)

    assert data == DATA
    assert fetched.blob == Blob(hashlib.sha256(DATA).digest(), len(DATA))
    assert fetched.final_url == upstream.url + "file"
    assert fetched.etag == f'"{hashlib.sha256(DATA).hexdigest()}"'


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_not_repeated(client: Client, upstream: Upstream, status: int) -> None:
    """A status that will not change is asked for once, and the message says what was answered."""
    upstream.behave("file", answers(status))

    error = client.fail(upstream.url + "file")

    assert isinstance(error, DownloadFailedError)
    assert not error.retryable
    assert error.metadata == {
        "url": upstream.url + "file",
        "unit": "a/b.txt",
        "http_status": str(status),
    }
    assert error.message.startswith(f"GET {upstream.url}file answered {status} ")
    assert error.message.endswith(" (for the file a/b.txt).")
    assert upstream.count("file") == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_repeated(client: Client, upstream: Upstream, status: int) -> None:
    """A status that may pass is asked again, and the file is there when it has passed."""
    upstream.behave("file", answers(status, times=2))

    _, data = client.get(upstream.url + "file")

    assert data == DATA
    assert upstream.count("file") == 3


def test_repeating_ends(client: Client, upstream: Upstream) -> None:
    """After max_retries more tries the failure stands, and is marked as one that may pass."""
    upstream.behave("file", answers(503))

    error = client.fail(upstream.url + "file")

    assert isinstance(error, DownloadFailedError)
    assert error.retryable
    assert upstream.count("file") == 3


@pytest.mark.parametrize("behavior", [truncates, resets])
def test_a_broken_transfer_is_repeated(
    client: Client, upstream: Upstream, behavior: type[object]
) -> None:
    """Half a file and a hang-up are tried again from the start."""
    upstream.behave("file", behavior(times=1))  # type: ignore[call-arg, arg-type]

    _, data = client.get(upstream.url + "file", expected=expecting(DATA, "sha256"))

    assert data == DATA


@pytest.mark.parametrize("behavior", [truncates, resets])
def test_a_transfer_that_always_breaks_fails(
    client: Client, upstream: Upstream, behavior: type[object]
) -> None:
    """Half a file is never stored, also when nobody said what it should be."""
    upstream.behave("file", behavior())  # type: ignore[arg-type]

    error = client.fail(upstream.url + "file")

    assert isinstance(error, DownloadFailedError)
    assert error.retryable
    assert "broke off" in error.message


def test_a_stall_is_given_up(client: Client, upstream: Upstream) -> None:
    """When no byte comes for the stall timeout, the try is over."""
    upstream.behave("file", stalls(times=1))
    # Long enough for the second try on any machine.
    limits = Remote(1, max_retries=1, stall_timeout_seconds=1)

    _, data = client.get(upstream.url + "file", limits=limits)

    assert data == DATA


def test_a_wrong_digest_is_not_repeated(client: Client, upstream: Upstream) -> None:
    """Other bytes than expected are refused at once, naming both digests."""
    upstream.behave("file", lies())
    expected = Expected(digests=(("sha256", hashlib.sha256(DATA).digest()),))

    error = client.fail(upstream.url + "file", expected=expected)

    assert isinstance(error, DigestMismatchError)
    assert error.metadata["expected"] == hashlib.sha256(DATA).hexdigest()
    assert error.metadata["actual"] != error.metadata["expected"]
    assert error.metadata["url"] == upstream.url + "file"
    assert upstream.count("file") == 1


def test_a_weak_digest_is_verified_too(client: Client, upstream: Upstream) -> None:
    """A file with the right SHA-256 and a wrong MD5 is refused."""
    digests = (("sha256", hashlib.sha256(DATA).digest()), ("md5", bytes(16)))

    error = client.fail(upstream.url + "file", expected=Expected(digests))

    assert isinstance(error, DigestMismatchError)


def test_the_next_source_is_tried(client: Client, upstream: Upstream) -> None:
    """After a wrong digest, a refusal and a useless URL, the source that has the file is used."""
    upstream.files |= {"lying": DATA, "refusing": DATA}
    upstream.behave("lying", lies())
    upstream.behave("refusing", answers(404))
    urls = [upstream.url + "lying", "ftp://127.0.0.1/x", upstream.url + "refusing"]

    fetched, data = client.get(*urls, upstream.url + "file", expected=expecting(DATA, "sha256"))

    assert data == DATA
    assert fetched.source.url == upstream.url + "file"


def test_the_first_source_speaks_for_all(client: Client, upstream: Upstream) -> None:
    """When all sources fail, the error is that of the first, and mentions the others."""
    error = client.fail(upstream.url + "one", upstream.url + "two")

    assert error.metadata["url"] == upstream.url + "one"
    assert str(error) == error.message
    assert error.message.endswith("The other sources (1) failed as well.")


def test_a_length_that_is_wrong_is_refused_unread(client: Client, raw: RawUpstream) -> None:
    """An announced length that cannot be right ends the try before its first byte."""
    raw.answers["/x"] = response("200 OK", DATA, length=1 << 40)

    error = client.fail(raw.url("/x"), expected=expecting(DATA, "sha256"))

    assert isinstance(error, SizeMismatchError)
    assert error.metadata["expected"] == str(len(DATA))
    assert error.metadata["actual"] == str(1 << 40)


def test_an_endless_body_is_cut_off(client: Client, raw: RawUpstream) -> None:
    """A body without a length and without an end is refused when it exceeds the most allowed."""
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    raw.answers["/x"] = lambda _: itertools.chain([head], itertools.repeat(bytes(65536)))

    error = client.fail(raw.url("/x"), max_bytes=1 << 20)

    assert isinstance(error, SizeMismatchError)
    assert error.metadata["expected"] == str(1 << 20)


def test_a_short_body_without_a_length_may_be_a_broken_connection(
    client: Client, raw: RawUpstream
) -> None:
    """Too few bytes and no announced length are tried again."""
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    raw.answers["/x"] = [lambda _: [head, DATA[:10]], lambda _: [head, DATA]]

    _, data = client.get(raw.url("/x"), expected=expecting(DATA, "sha256"))

    assert data == DATA


def test_compression_that_nobody_asked_for_is_not_undone(client: Client, raw: RawUpstream) -> None:
    """The bytes are stored as they came: identity is asked for, and nothing is inflated."""
    bomb = gzip.compress(bytes(1 << 20))
    raw.answers["/x"] = response("200 OK", bomb, "Content-Encoding: gzip")

    _, data = client.get(raw.url("/x"))

    assert data == bomb
    assert raw.requests[0][1]["accept-encoding"] == "identity"


def test_retry_after_is_honoured(client: Client, raw: RawUpstream) -> None:
    """After a 429 the remote is left alone for as long as it asks, and then asked again."""
    busy = response("429 Too Many Requests", b"", "Retry-After: 0")
    raw.answers["/x"] = [busy, busy, response("200 OK", DATA)]

    _, data = client.get(raw.url("/x"))

    assert data == DATA
    assert len(raw.requests) == 3


def test_a_remote_that_asks_for_hours_is_not_waited_for(client: Client, raw: RawUpstream) -> None:
    """A Retry-After of more than two minutes ends the download, and is passed on."""
    raw.answers["/x"] = response("503 Service Unavailable", b"", "Retry-After: 7200")

    error = client.fail(raw.url("/x"))

    assert error.retry_after_seconds == 7200
    assert len(raw.requests) == 1


def test_redirects_are_followed(client: Client, upstream: Upstream) -> None:
    """A redirect leads to the file, and the answer says where that was."""
    upstream.behave("file", redirects())

    fetched, data = client.get(upstream.url + "file")

    assert data == DATA
    assert fetched.final_url == upstream.url + "moved/file"


def test_a_redirect_loop_ends(client: Client, raw: RawUpstream) -> None:
    """More than five redirects are not followed."""
    raw.answers["/x"] = redirect("/x")

    error = client.fail(raw.url("/x"))

    assert "more than 5 redirects" in error.message
    assert len(raw.requests) == 6


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "gopher://127.0.0.1/x",
        "http://user:secret@127.0.0.1/x",
        "http://",
        "",
        "http://127.0.0.1:0/",
    ],
)
def test_redirects_to_elsewhere_are_refused(
    client: Client, raw: RawUpstream, location: str
) -> None:
    """A redirect to another scheme, with user information, or to nowhere is not followed."""
    raw.answers["/x"] = redirect(location)

    error = client.fail(raw.url("/x"))

    assert isinstance(error, DownloadFailedError)
    assert "which is not followed" in error.message


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]"]
)
def test_link_local_addresses_are_refused(client: Client, raw: RawUpstream, host: str) -> None:
    """Neither a URL nor a redirect leads to a link-local address, however it is written."""
    raw.answers["/x"] = redirect(f"http://{host}/latest/meta-data")

    redirected = client.fail(raw.url("/x"))
    direct = client.fail(f"http://{host}/latest/meta-data")

    assert isinstance(redirected, AddressForbiddenError)
    assert isinstance(direct, AddressForbiddenError)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "[::1]"])  # noqa: S104
def test_loopback_is_refused_unless_allowed(tmp_path: Path, host: str) -> None:
    """This machine is asked only if the configuration says so, by name or by address."""
    client = Client(tmp_path, allow_loopback=False)

    error = client.fail(f"http://{host}:9/")
    client.downloader.close()

    assert isinstance(error, AddressForbiddenError)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "http://a:b@127.0.0.1/",
        "http:///x",
        "http://[::1",
        "http://a b/",
        "http://2130706433/",
        "http://a..b/",
        f"http://{'a' * 64}.example/",
        "x",
    ],
)
def test_useless_urls_are_refused(client: Client, url: str) -> None:
    """A URL that is not absolute http or https without user information is not asked."""
    error = client.fail(url)

    assert "cannot be asked" in error.message


def test_no_password_of_a_url_is_repeated(client: Client, raw: RawUpstream) -> None:
    """S37: neither that of a URL that is not asked, nor that of a redirect, is in the error."""
    raw.answers["/x"] = redirect("//ann:canary@127.0.0.1/")

    for error in (client.fail("http://ann:canary@127.0.0.1/"), client.fail(raw.url("/x"))):
        assert "//…@127.0.0.1/" in error.message
        assert "canary" not in f"{error.message} {error.metadata}"


def test_words_of_the_upstream_are_made_harmless(client: Client, raw: RawUpstream) -> None:
    """Control characters of a reason phrase do not reach the message."""
    raw.answers["/x"] = response("404 No\x1b[31m\x07such")

    error = client.fail(raw.url("/x"))

    assert error.message.isprintable()


def test_what_is_not_http_is_refused(client: Client, raw: RawUpstream) -> None:
    """An answer that is not HTTP is an error of its own, and not repeated."""
    raw.answers["/x"] = lambda _: [b"SSH-2.0-OpenSSH_9.2\r\n\r\n"]

    error = client.fail(raw.url("/x"))

    assert "not HTTP" in error.message
    assert len(raw.requests) == 1


def test_an_unchanged_file_is_not_sent_again(client: Client, upstream: Upstream) -> None:
    """With the validators of last time, the answer may be that nothing has changed."""
    limits = Remote(1)
    first, _ = client.get(upstream.url + "file")
    source = Source(upstream.url + "file", limits, first.etag, first.last_modified)

    with client.store.begin() as batch:
        again = client.downloader.submit(Download((source,)), BatchSink(batch)).result(10)

    assert again.blob is None
    assert again.etag == first.etag
    assert upstream.requests[-1].headers["if-modified-since"] == first.last_modified


def test_a_304_that_nobody_asked_for_is_a_failure(client: Client, raw: RawUpstream) -> None:
    """An answer "not modified" to an unconditional request is no file."""
    raw.answers["/x"] = response("304 Not Modified")

    assert "answered 304" in client.fail(raw.url("/x")).message


def test_no_more_at_once_than_the_remote_allows(client: Client, upstream: Upstream) -> None:
    """With max_concurrency 2, the upstream never sees a third request."""
    gate = upstream.hold("file")
    download = Download((Source(upstream.url + "file", Remote(1, max_concurrency=2)),))

    with client.store.begin() as batch:
        futures = [client.downloader.submit(download, BatchSink(batch)) for _ in range(5)]
        gate.wait_entered()
        asked = upstream.count("file")
        gate.open()
        for future in futures:
            future.result(10)

    assert asked <= 2
    assert upstream.count("file") == 5


def test_a_cancelled_download_ends(client: Client, upstream: Upstream) -> None:
    """Cancelling closes the connection and leaves nothing."""
    gate = upstream.hold("file")
    download = Download((Source(upstream.url + "file", Remote(1)),))

    with client.store.begin() as batch:
        future = client.downloader.submit(download, BatchSink(batch))
        gate.wait_entered()
        assert future.cancel()
    gate.open()

    assert list(client.store.files()) == []


def test_connections_are_used_again(client: Client, upstream: Upstream) -> None:
    """Files fetched one after the other come over few connections, fast."""
    upstream.fill(200)
    limits = Remote(1, max_concurrency=10)
    done = threading.Semaphore(0)

    with client.store.begin() as batch:
        for path in sorted(upstream.files):
            download = Download((Source(upstream.url + path, limits),))
            future = client.downloader.submit(download, BatchSink(batch))
            future.add_done_callback(lambda _: done.release())
        for _ in upstream.files:
            assert done.acquire(timeout=20)
        blobs = batch.settle()

    assert {blob.hex for blob in blobs} == set(upstream.digests().values())


def test_closing_fails_what_is_under_way(client: Client, upstream: Upstream) -> None:
    """Whoever waits for a download when the process ends hears of a failure that passes."""
    gate = upstream.hold("file")
    download = Download((Source(upstream.url + "file", Remote(1)),))

    with client.store.begin() as batch:
        future = client.downloader.submit(download, BatchSink(batch))
        gate.wait_entered()
        client.downloader.close()
        with pytest.raises(DownloadFailedError) as caught:
            future.result(10)

    assert caught.value.retryable
