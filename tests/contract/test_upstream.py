"""The upstream that tests use behaves as told."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from entrepot_sdk.testing import Upstream

BODY = b"0123456789" * 100


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
