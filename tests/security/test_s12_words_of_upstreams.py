"""S12: no control character that an upstream sends is logged, stored, shown or sent on."""

import pytest

from download_client import Client
from entrepot_core.domain.errors import DownloadFailedError, ServiceError
from entrepot_core.downloads.remote import Remote
from entrepot_core.downloads.request import BatchSink, Download, Source
from entrepot_sdk.testing import Upstream
from entrepot_sdk.testing.upstream import Exchange

DATA = b"data"
EVIL = {
    "escape": "\x1b[31m",
    "vertical tab": "\x0b",
    "backspace": "\x08\x08",
    "delete": "\x7f",
    "next line": "\x85",
    "NUL": "\x00",
    "a line break": "\r\nX-Evil: 1",
    "a carriage return": "\rX-Evil: 1",
    "a line feed": "\nX-Evil: 1",
}


def is_clean(text: str) -> bool:
    """Whether a text is one line that moves no cursor."""
    return text.isprintable()


def check(error: ServiceError, output: str) -> None:
    """An error and what was logged, of which nothing may come from the header as it was."""
    assert is_clean(error.message), error.message
    assert all(is_clean(value) for value in error.metadata.values())
    assert not any(evil in output for evil in EVIL.values())
    assert "\nX-Evil" not in output


@pytest.mark.parametrize("evil", EVIL.values(), ids=EVIL.keys())
def test_a_location(
    client: Client, upstream: Upstream, evil: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """S12: a redirect whose Location has control characters leads nowhere, also not encoded."""
    url = upstream.add("/a", behaviour="redirect", location=f"/b{evil}c")

    check(client.fail(url), capfd.readouterr().out)

    # Behind a line break is another header, as for everybody.
    followed = ["/b"] if "\n" in evil else []
    assert [request.path for request in upstream.requests] == ["/a", *followed]
    assert not any("x-evil" in request.headers for request in upstream.requests)


@pytest.mark.parametrize("evil", EVIL.values(), ids=EVIL.keys())
def test_an_encoded_location(client: Client, upstream: Upstream, evil: str) -> None:
    """S12: what is encoded in a Location stays so: it is part of a path, and breaks no line."""
    encoded = "".join(f"%{byte:02x}" for byte in evil.encode("latin-1"))
    upstream.add("/a", behaviour="redirect", location=f"/b{encoded}c")

    error = client.fail(upstream.url + "/a")

    assert is_clean(error.message)
    assert [request.path for request in upstream.requests] == ["/a", f"/b{encoded}c"]
    assert not any("x-evil" in request.headers for request in upstream.requests)


@pytest.mark.parametrize("evil", EVIL.values(), ids=EVIL.keys())
def test_a_reason(
    client: Client, upstream: Upstream, evil: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """S12: the words of a status line are made harmless before they are shown."""

    async def refuses(exchange: Exchange) -> None:
        line = f"HTTP/1.1 404 No{evil}such\r\nContent-Length: 0\r\n\r\n"
        await exchange.write(line.encode("latin-1"))

    error = client.fail(upstream.add("/a", behaviour=refuses))

    assert isinstance(error, DownloadFailedError)
    check(error, capfd.readouterr().out)


@pytest.mark.parametrize("name", ["ETag", "Last-Modified"])
@pytest.mark.parametrize("evil", EVIL.values(), ids=EVIL.keys())
def test_a_validator(client: Client, upstream: Upstream, name: str, evil: str) -> None:
    """S12: a validator with control characters is neither kept nor sent back."""

    async def tagged(exchange: Exchange) -> None:
        await exchange.send(200, DATA, [(name, f'"a{evil}b"')])

    url = upstream.add("/a", behaviour=tagged)
    with client.store.begin() as batch:
        future = client.downloader.submit(Download((Source(url, Remote(1)),)), BatchSink(batch))
        try:
            fetched = future.result(30)
        except DownloadFailedError:
            return

    assert is_clean(fetched.etag)
    assert is_clean(fetched.last_modified)
    assert evil not in fetched.etag + fetched.last_modified


def test_a_retry_after(client: Client, upstream: Upstream) -> None:
    """S12: a Retry-After that is no time is no time."""
    url = upstream.add("/a", behaviour="busy", retry_after="1\x0b1")

    error = client.fail(url, limits=Remote(1, max_retries=0))

    assert error.retry_after_seconds is None
    assert is_clean(error.message)


def test_header_injection(client: Client, upstream: Upstream) -> None:
    """S12: an answer whose validators are full of control characters leaves none of them."""
    fetched, data = client.get(upstream.add("/a", DATA, "header_injection"))

    assert data == DATA
    assert fetched.etag == ""
    assert fetched.last_modified == ""
