"""S09: each hop of a redirect is judged anew, by the address that its name has then."""

import socket
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from download_client import Client
from entrepot_core.domain.errors import AddressForbiddenError, DownloadFailedError
from entrepot_core.downloads.url import UnusableUrlError, follow, parse_url
from entrepot_sdk.testing import Upstream

INNER = "127.0.0.2"


class Names:
    """A name server that answers each question with the next of its addresses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: dict[str, list[str]] = {}
        self._resolve = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._answer)

    def _answer(self, host: str, *rest: Any, **more: Any) -> Any:  # noqa: ANN401  as asked
        found = self.answers.get(host)
        if not found:
            return self._resolve(host, *rest, **more)
        address = found.pop(0) if len(found) > 1 else found[0]
        return [
            answer for one in address.split(",") for answer in self._resolve(one, *rest, **more)
        ]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """The names that tests make up."""
    return Names(monkeypatch)


@pytest.fixture
def client(tmp_path: Path, names: Names) -> Iterator[Client]:
    """A client of an operator who refuses an inner address; names are never remembered."""
    del names
    with Client(tmp_path, refused_networks=(ip_network(f"{INNER}/32"),)) as client:
        yield client


def test_a_name_that_moves_inside_is_refused(
    client: Client, names: Names, upstream: Upstream
) -> None:
    """S09: a name that was outside when it was looked at and is inside later is not asked."""
    names.answers["moving.example"] = ["127.0.0.1", INNER]
    port = urlsplit(upstream.url).port
    upstream.add("/a", b"data")
    url = f"http://moving.example:{port}/a"

    first = client.get(url)[1]
    # Whatever was remembered of the name, the next connection is judged by its address.
    client.forget_names()
    error = client.fail_now(url)

    assert first == b"data"
    assert isinstance(error, AddressForbiddenError)
    assert upstream.hits["/a"] == 1


def test_a_redirect_to_a_name_inside_is_refused(
    client: Client, names: Names, upstream: Upstream
) -> None:
    """S09: the second hop is judged like the first."""
    names.answers["inside.example"] = [INNER]
    port = urlsplit(upstream.url).port
    upstream.add("/b", behaviour="redirect", location=f"http://inside.example:{port}/c")
    upstream.add("/c", b"secret")

    error = client.fail(upstream.add("/a", behaviour="redirect", location="/b"))

    assert isinstance(error, AddressForbiddenError)
    assert upstream.hits == {"/a": 1, "/b": 1}


def test_of_several_addresses_only_those_allowed_are_asked(
    client: Client, names: Names, upstream: Upstream
) -> None:
    """S09: a name with an address inside and one outside is asked outside only."""
    names.answers["both.example"] = [f"{INNER},127.0.0.1"]
    upstream.add("/a", b"data")

    assert client.get(f"http://both.example:{urlsplit(upstream.url).port}/a")[1] == b"data"


@pytest.mark.parametrize("behaviour", ["redirect_loop", "redirect_chain"])
def test_redirects_end(client: Client, upstream: Upstream, behaviour: str) -> None:
    """S09: five hops are enough, in a circle or straight on."""
    error = client.fail(upstream.add("/a", behaviour=behaviour))

    assert isinstance(error, DownloadFailedError)
    assert "more than 5 redirects" in error.message
    assert not error.retryable
    assert len(upstream.requests) == 6


def test_five_redirects_are_followed(client: Client, upstream: Upstream) -> None:
    """S09: what is reached with the fifth hop is fetched."""
    for number in range(5):
        upstream.add(f"/{number}", behaviour="redirect", location=f"/{number + 1}")
    upstream.add("/5", b"data")

    assert client.get(upstream.url + "/0")[1] == b"data"


@pytest.mark.parametrize("location", ["http://h/b", "HTTP://h/b", "http://other:443/"])
def test_nothing_leads_from_https_to_http(location: str) -> None:
    """S09: what began under TLS goes on under TLS."""
    with pytest.raises(UnusableUrlError, match="from https to http"):
        follow(parse_url("https://h/a"), location)
