"""The upstream that tests use behaves as told."""

import gzip
import http.client
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from entrepot_sdk.testing import Upstream
from entrepot_sdk.testing.upstream import BEHAVIOURS, EVIL_LOCATIONS

BODY = b"0123456789" * 100
HALF = BODY[: len(BODY) // 2]
OTHERS = bytes(byte ^ 0xFF for byte in BODY)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Start an upstream."""
    with Upstream() as upstream:
        yield upstream


def get(url: str, **headers: str) -> tuple[int, bytes]:
    """Get a URL, whatever the status."""
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  loopback
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_ok_gives_the_body(upstream: Upstream) -> None:
    """A path that is fine gives its bytes, and counts."""
    url = upstream.add("/a", BODY)

    assert get(url) == (200, BODY)
    assert upstream.hits["/a"] == 1


def test_unknown_paths_are_not_found(upstream: Upstream) -> None:
    """A path that nobody added is 404."""
    assert get(upstream.url + "/nope")[0] == 404


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_statuses(upstream: Upstream, status: int) -> None:
    """A path answers with the status it was given."""
    assert get(upstream.add("/a", behaviour="status", status=status))[0] == status


def test_an_etag_saves_the_body(upstream: Upstream) -> None:
    """Who has the ETag gets 304 and no bytes, and both are counted."""
    url = upstream.add("/a", BODY, "etag")
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310
        tag = response.headers["ETag"]

    assert get(url, **{"If-None-Match": tag}) == (304, b"")
    assert upstream.statuses["/a"] == {200: 1, 304: 1}


@pytest.mark.parametrize("behaviour", ["truncated", "reset"])
def test_broken_transfers_break(upstream: Upstream, behaviour: str) -> None:
    """A transfer that breaks off is an error for the client."""
    url = upstream.add("/a", BODY, behaviour)

    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        get(url)


def test_other_bytes(upstream: Upstream) -> None:
    """A corrupted body has the right length and the wrong bytes; a long one has a byte more."""
    corrupted = get(upstream.add("/a", BODY, "corrupted"))[1]
    longer = get(upstream.add("/b", BODY, "too_long"))[1]

    assert len(corrupted) == len(BODY)
    assert corrupted != BODY
    assert len(longer) == len(BODY) + 1


def test_a_stall_lasts_until_the_upstream_is_released(upstream: Upstream) -> None:
    """A stalled transfer gives half, and ends when the test says so."""
    url = upstream.add("/a", BODY, "stall")

    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310
        assert response.read(len(BODY) // 2) == BODY[: len(BODY) // 2]
        upstream.release()
        with pytest.raises(http.client.IncompleteRead):
            response.read()


def test_slow_is_complete(upstream: Upstream) -> None:
    """A slow transfer gives every byte in the end."""
    assert get(upstream.add("/a", BODY, "slow", pieces=3, pause_ms=1)) == (200, BODY)


def test_redirects_lead_on(upstream: Upstream) -> None:
    """A redirect leads to another path."""
    target = upstream.add("/b", BODY)

    assert get(upstream.add("/a", behaviour="redirect", location=target)) == (200, BODY)


def test_a_behaviour_for_some_requests(upstream: Upstream) -> None:
    """After its times, a behaviour gives way to the one before."""
    upstream.add("/a", BODY)
    url = upstream.add("/a", behaviour="status", times=2, status=503)

    assert [get(url)[0] for _ in range(3)] == [503, 503, 200]


def raw(url: str, *headers: str, method: str = "GET", most: int = 1 << 30) -> bytes:
    """Everything that comes for a request, as bytes, until the connection ends or `most` came."""
    parts = urlsplit(url)
    target = parts.path + ("?" + parts.query if parts.query else "")
    came = bytearray()
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        lines = [f"{method} {target} HTTP/1.1", "Host: h", *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode())
        with suppress(ConnectionError):
            while len(came) < most and (piece := connection.recv(65536)):
                came += piece
    return bytes(came)


def halves_of(answer: bytes) -> tuple[str, bytes]:
    """Head and body of an answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode("latin-1"), body


@pytest.mark.parametrize(
    ("behaviour", "words", "body"),
    [
        ("ok", "HTTP/1.1 200 OK", BODY),
        ("empty", "Content-Length: 0", b""),
        ("etag", "ETag: ", BODY),
        ("last_modified", "Last-Modified: Mon, ", BODY),
        ("ranges", "ETag: ", BODY),
        ("chunked", "Transfer-Encoding: chunked", b"1f4\r\n%b\r\n" % HALF * 2 + b"0\r\n\r\n"),
        ("status", "500 Internal Server Error", b"no\n"),
        ("busy", "429 Too Many Requests\r\nConnection: close", b"later\n"),
        ("redirect", "Location: /", b""),
        ("slow", "Content-Length: 1000", BODY),
        ("truncated", "Content-Length: 1000", HALF),
        ("halves", "Content-Length: 1000", HALF),
        ("huge_header", "X-Huge: xxxx", BODY),
        ("chunked_garbage", "chunked", b"1f4\r\n%b\r\nlots\r\n%b\r\n0\r\n\r\n" % (HALF, HALF)),
        ("chunked_cut", "chunked", b"3e8\r\n%b\r\n" % BODY),
        ("chunked_with_length", "Content-Length: 3", b"3e8\r\n%b\r\n0\r\n\r\n" % BODY),
        ("not_http", "SSH-2.0-", b""),
        ("corrupted", "Content-Length: 1000", OTHERS),
        ("too_long", "Content-Length: 1001", BODY + b"!"),
        ("error_page", "200 OK", b"<!doctype html><title>Oops</title><p>Please log in.</p>\n"),
        ("head_lies", "Content-Length: 1000", BODY),
        ("gzipped", "Content-Encoding: gzip", gzip.compress(BODY, mtime=0)),
        ("length_too_small", "Content-Length: 500", BODY),
        ("length_too_large", "Content-Length: 2000", BODY),
        ("length_twice", "Content-Length: 1000\r\nContent-Length: 1", BODY),
        ("length_negative", "Content-Length: -1", BODY),
        ("length_garbage", "Content-Length: many", BODY),
        ("ignores_range", "Accept-Ranges: bytes", HALF),
        ("ignores_if_range", "Content-Length: 1000", OTHERS[: len(HALF)]),
        ("changing", "Content-Length: 1000", OTHERS[: len(HALF)]),
        ("wrong_range", "Content-Length: 1000", HALF),
        ("unasked_range", "206 Partial Content", HALF),
        ("redirect_loop", "Location: /a", b""),
        ("redirect_chain", "Location: /a?step=1", b""),
        ("header_injection", "\x0b", BODY),
        ("hangs_up", "", b""),
        ("reset_first", "", b""),
    ],
)
def test_first_answers(upstream: Upstream, behaviour: str, words: str, body: bytes) -> None:
    """Each behaviour sends to the first who asks, byte by byte, what it says it does."""
    head, came = halves_of(raw(upstream.add("/a", BODY, behaviour, pause_ms=1)))

    assert words in head
    assert came == body


@pytest.mark.parametrize(
    ("behaviour", "status", "words", "body"),
    [
        ("ranges", "206", "Content-Range: bytes 300-999/1000", BODY[300:]),
        ("halves", "206", "Content-Range: bytes 300-999/1000", BODY[300:650]),
        ("ignores_range", "200", "Content-Length: 1000", BODY),
        ("ignores_if_range", "206", "Content-Range: bytes 300-999/1000", BODY[300:]),
        ("wrong_range", "206", "Content-Range: bytes 0-999/1000", BODY),
        ("changing", "200", "Content-Length: 1000", BODY),
    ],
)
def test_answers_to_ranges(
    upstream: Upstream, behaviour: str, status: str, words: str, body: bytes
) -> None:
    """Who asks for the rest of what the first answer began gets what the behaviour says."""
    url = upstream.add("/a", BODY, behaviour)
    first, _ = halves_of(raw(url))
    tag = next(line[6:] for line in first.split("\r\n") if line.startswith("ETag: "))

    head, came = halves_of(raw(url, "Range: bytes=300-", f"If-Range: {tag}"))

    assert f"HTTP/1.1 {status} " in head
    assert words in head
    assert came == body


def test_ranges_that_begin_behind_the_end(upstream: Upstream) -> None:
    """A range that cannot be is 416, with the length."""
    head, _ = halves_of(raw(upstream.add("/a", BODY, "ranges"), "Range: bytes=1000-"))

    assert "416 " in head
    assert "Content-Range: bytes */1000" in head


@pytest.mark.parametrize("behaviour", ["endless", "endless_headers", "continues"])
def test_what_never_ends(upstream: Upstream, behaviour: str) -> None:
    """An endless answer goes on as long as somebody reads."""
    came = raw(upstream.add("/a", BODY, behaviour), most=5_000_000)

    assert len(came) >= 5_000_000
    assert upstream.sent_bytes["/a"] >= 5_000_000


@pytest.mark.parametrize("behaviour", ["silent", "slow_start", "trickle"])
def test_what_waits_for_the_test(upstream: Upstream, behaviour: str) -> None:
    """Who is silent, starts late or trickles goes on when the test says so."""
    url = upstream.add("/a", BODY, behaviour, pause_ms=600_000)
    upstream.release()

    assert halves_of(raw(url))[1] == (b"" if behaviour == "silent" else BODY)


def test_a_trickle_is_a_byte_at_a_time(upstream: Upstream) -> None:
    """A trickle comes byte by byte, with a pause before each."""
    assert get(upstream.add("/a", b"drip", "trickle", pause_ms=1)) == (200, b"drip")


def test_a_bomb_is_small_until_it_is_opened(upstream: Upstream) -> None:
    """A bomb is some bytes, which its encoding, applied as often as it says, makes many."""
    head, came = halves_of(raw(upstream.add("/a", behaviour="bomb", size=1 << 20, layers=2)))

    assert "Content-Encoding: gzip, gzip" in head
    assert len(came) < 1000
    assert gzip.decompress(gzip.decompress(came)) == bytes(1 << 20)


def test_head_lies_to_head(upstream: Upstream) -> None:
    """HEAD is told another length and ETag than GET, and gets no body."""
    head, body = halves_of(raw(upstream.add("/a", BODY, "head_lies"), method="HEAD"))

    assert "Content-Length: 1" in head.split("\r\n")
    assert 'ETag: "other"' in head
    assert body == b""


@pytest.mark.parametrize("location", EVIL_LOCATIONS.values(), ids=EVIL_LOCATIONS.keys())
def test_evil_locations_are_sent_as_they_are(upstream: Upstream, location: str) -> None:
    """A redirect says what it was told to say."""
    head, _ = halves_of(raw(upstream.add("/a", behaviour="redirect", location=location)))

    assert head.endswith(f"Location: {location}")


def test_a_query_belongs_to_the_path(upstream: Upstream) -> None:
    """A path added with a query answers that query; any other is answered by the path alone."""
    upstream.add("/a", b"plain")
    upstream.add("/a?b", b"asked")

    assert get(upstream.url + "/a?b") == (200, b"asked")
    assert get(upstream.url + "/a?c") == (200, b"plain")
    assert upstream.hits == {"/a?b": 1, "/a?c": 1}


def test_tls_is_reset(upstream: Upstream) -> None:
    """Who begins TLS is cut off at once, and is no request."""
    address = (urlsplit(upstream.url).hostname, urlsplit(upstream.url).port)
    with socket.create_connection(address, timeout=10) as connection:
        context = ssl.create_default_context()
        with pytest.raises((ConnectionError, ssl.SSLError)):
            context.wrap_socket(connection, server_hostname="localhost")

    assert upstream.requests == []


def test_every_behaviour_is_tested() -> None:
    """No behaviour was added without a test of what it does."""
    mine = Path(__file__).read_text("utf-8")

    assert [name for name in BEHAVIOURS if f'"{name}"' not in mine] == []
