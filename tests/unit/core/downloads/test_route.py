"""The way to a remote: credentials, TLS and proxies, against real servers."""

import re
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from certificates import Authority, authority, other_authority
from entrepot_core.domain.errors import (
    AddressForbiddenError,
    DownloadFailedError,
    SecretUnreadableError,
)
from fetcher import Fetcher, a_remote, fetching
from proxy import Proxy
from upstream import Upstream, answers, redirects

DATA = b"some bytes"
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def fetcher(tmp_path: Path) -> Iterator[Fetcher]:
    """What asks."""
    with fetching(tmp_path) as fetcher:
        yield fetcher


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """An upstream with one file."""
    with Upstream({"file": DATA}) as upstream:
        yield upstream


def tls_upstream(**options: Any) -> Upstream:  # noqa: ANN401
    """The same over TLS, with a certificate of the authority."""
    return Upstream({"file": DATA}, tls=authority().server(**options))


# --- credentials


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        (
            {"username": "ann", "secrets": {"password": "ö:x"}},
            {"authorization": f"Basic {b64encode('ann:ö:x'.encode()).decode()}"},
        ),
        ({"username": "ann"}, {"authorization": f"Basic {b64encode(b'ann:').decode()}"}),
        ({"secrets": {"token": "t0k"}}, {"authorization": "Bearer t0k"}),
        (
            {"secrets": {"headers.X-Api-Key": "k", "headers.User-Agent": "me"}},
            {"x-api-key": "k", "user-agent": "me"},
        ),
    ],
    ids=["basic", "basic without password", "bearer", "headers"],
)
def test_a_remote_identifies_itself(
    fetcher: Fetcher, upstream: Upstream, given: dict[str, Any], asked: dict[str, str]
) -> None:
    """An upstream that asks for just these header fields sends its file."""
    upstream.asks_for = asked

    assert DATA == fetcher.get(upstream.url + "file", a_remote(upstream.url, **given))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "; give remotes/file/bar a username and password, or a token (for the file a.txt)."),
        ({"secrets": {"token": "wrong"}}, "; the credentials of remotes/file/bar do not suffice"),
    ],
)
def test_a_refusal_says_what_of_the_credentials(
    fetcher: Fetcher, upstream: Upstream, given: dict[str, Any], words: str
) -> None:
    """Missing and wrong credentials are told apart, and the task is not repeated for them."""
    upstream.asks_for = {"authorization": "Bearer right"}

    error = fetcher.fail(upstream.url + "file", a_remote(upstream.url, **given))

    assert isinstance(error, DownloadFailedError)
    assert (False, "401") == (error.retryable, error.metadata["http_status"])
    assert words in error.message
    assert "wrong" not in error.message


def test_a_refusal_says_that_credentials_were_held_back(
    fetcher: Fetcher, upstream: Upstream
) -> None:
    """Where a redirect leads to another host that wants credentials, the error says why."""
    upstream.behave("file", answers(403))
    remote = a_remote("http://localhost:1/", secrets={"token": "t"})

    error = fetcher.fail(upstream.url + "file", remote)

    assert (
        f"the credentials of remotes/file/bar were not sent, as {upstream.url[:-1]} is not the "
        "host of its URL" in error.message
    )


def test_secrets_that_cannot_be_read_are_the_error(fetcher: Fetcher, upstream: Upstream) -> None:
    """Nothing is asked without the credentials that the remote should have."""
    fault = SecretUnreadableError("no key")

    assert fault is fetcher.fail(upstream.url + "file", a_remote(upstream.url, fault=fault))
    assert upstream.requests == []


# --- TLS


def test_a_private_authority_is_trusted(fetcher: Fetcher) -> None:
    """What ca_certificates has vouched for is fetched."""
    with tls_upstream() as upstream:
        remote = a_remote(upstream.url, ca_certificates=authority().pem)

        assert DATA == fetcher.get(upstream.url + "file", remote)


def test_a_client_certificate_is_shown(fetcher: Fetcher) -> None:
    """An upstream that insists on a certificate of the client sends its file."""
    certificate, key = other_authority().client()
    tls = authority().server(clients=other_authority())
    tls.verify_mode = ssl.CERT_REQUIRED
    with Upstream({"file": DATA}, tls=tls) as upstream:
        remote = a_remote(
            upstream.url,
            ca_certificates=authority().pem,
            client_certificate=certificate,
            secrets={"client_key": key},
        )

        assert DATA == fetcher.get(upstream.url + "file", remote)


def test_a_missing_client_certificate_is_named(fetcher: Fetcher) -> None:
    """Who does not show the certificate that the upstream insists on is told which fields."""
    tls = authority().server(clients=other_authority())
    tls.verify_mode = ssl.CERT_REQUIRED
    with Upstream({"file": DATA}, tls=tls) as upstream:
        remote = a_remote(upstream.url, ca_certificates=authority().pem)

        # In TLS 1.3 it is told when our request is on its way already, and the system may throw
        # away what was told as soon as the connection is reset.
        errors = (fetcher.fail(upstream.url + "file", remote) for _ in range(20))
        error = next(one for one in errors if "reset by peer" not in one.message)

    assert re.search("asks? for .*client_certificate and client_key", error.message)


@pytest.mark.parametrize(
    ("server", "trusted", "words"),
    [
        ({}, None, "from an authority that is not trusted; if it is yours, give"),
        ({}, other_authority, "from an authority that is not trusted; if it is yours, give"),
        ({"has_expired": True}, authority, "has expired; whoever runs it must renew it"),
        ({"name": "other.test"}, authority, 'is for other names than "127.0.0.1"'),
    ],
    ids=["unknown", "another", "expired", "name"],
)
def test_a_certificate_that_is_wrong(
    fetcher: Fetcher,
    server: dict[str, Any],
    trusted: Callable[[], Authority] | None,
    words: str,
) -> None:
    """TLS that fails is an error that says what is wrong and what to do, and is not repeated."""
    with Upstream({"file": DATA}, tls=authority().server(**server)) as upstream:
        pem = trusted().pem if trusted else ""
        error = fetcher.fail(upstream.url + "file", a_remote(upstream.url, ca_certificates=pem))

        assert upstream.requests == []
    assert isinstance(error, DownloadFailedError)
    assert not error.retryable
    assert f"GET {upstream.url}file failed in TLS with 127.0.0.1: its certificate " in (
        error.message
    )
    assert words in error.message


def test_what_does_not_speak_tls_is_said(fetcher: Fetcher) -> None:
    """An https URL whose port speaks http is told as that."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"https://127.0.0.1:{server.getsockname()[1]}/"
        future = fetcher.start(url, a_remote(url))
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            with pytest.raises(DownloadFailedError, match="does not speak TLS"):
                future.result(30)


def test_verification_can_be_switched_off_for_the_own_host(
    fetcher: Fetcher, capsys: pytest.CaptureFixture[str]
) -> None:
    """Then any certificate of the own host does, others' are still verified, and a log says so."""
    with tls_upstream(has_expired=True) as own, tls_upstream() as other:
        own.behave("away", redirects(location=other.url + "file"))
        remote = a_remote(own.url, verify_tls=False)

        assert DATA == fetcher.get(own.url + "file", remote)
        error = fetcher.fail(own.url + "away", remote)

        assert other.requests == []
    assert "not trusted" in error.message
    assert "download.tls_unverified" in capsys.readouterr().out


def test_a_private_authority_vouches_for_redirects_too(fetcher: Fetcher) -> None:
    """Another host that the remote leads to may have a certificate of the same authority."""
    with tls_upstream() as own, tls_upstream() as other:
        own.behave("file", redirects(location=other.url + "file"))
        remote = a_remote(own.url, ca_certificates=authority().pem)

        assert DATA == fetcher.get(own.url + "file", remote)


# --- proxies


@pytest.mark.parametrize("is_secure", [False, True], ids=["http", "https"])
def test_everything_goes_through_the_proxy(fetcher: Fetcher, *, is_secure: bool) -> None:
    """The proxy is asked, with its own password, and the file comes."""
    tls = authority().server() if is_secure else None
    with Upstream({"file": DATA}, tls=tls) as upstream, Proxy("ann", "secret") as proxy:
        remote = a_remote(
            upstream.url,
            proxy_url=proxy.url,
            proxy_username="ann",
            secrets={"proxy_password": "secret"},
            ca_certificates=authority().pem,
        )

        assert DATA == fetcher.get(upstream.url + "file", remote)

    first = f"CONNECT 127.0.0.1:{upstream.port} " if is_secure else f"GET {upstream.url}file "
    assert proxy.seen[0].startswith(first)


@pytest.mark.parametrize(
    ("scheme", "refusal", "words"),
    [
        ("http", 0, "refuses with 407 No; give remotes/file/bar the right proxy_username and"),
        ("https", 0, "refuses with 407 No; give remotes/file/bar the right proxy_username and"),
        # To plain HTTP it cannot be told from the upstream's own.
        ("https", 403, "refuses with 403 No"),
    ],
)
def test_a_proxy_that_refuses_is_named(
    fetcher: Fetcher, scheme: str, refusal: int, words: str
) -> None:
    """The error names the proxy and its status, no password, and does not blame the upstream."""
    with Proxy("ann", "right", refusal) as proxy:
        remote = a_remote(
            f"{scheme}://127.0.0.1:9/",
            proxy_url=proxy.url,
            proxy_username="ann",
            secrets={"proxy_password": "canary"},
        )

        error = fetcher.fail(f"{scheme}://127.0.0.1:9/file", remote)

    assert isinstance(error, DownloadFailedError)
    assert not error.retryable
    assert f"failed: the proxy {proxy.url} {words}" in error.message
    assert "canary" not in error.message


def test_a_proxy_whose_name_is_unknown_is_named(fetcher: Fetcher) -> None:
    """The name that cannot be resolved is that of the proxy, not that of the upstream."""
    proxy = "http://proxy.invalid:3128"
    error = fetcher.fail("http://127.0.0.1:9/", a_remote("http://127.0.0.1:9/", proxy_url=proxy))

    assert f"failed: the proxy {proxy} cannot be reached: its host name" in error.message


def test_a_proxy_that_is_away_is_named(fetcher: Fetcher) -> None:
    """What cannot be reached is the proxy, and that may pass."""
    error = fetcher.fail("http://127.0.0.1:9/", a_remote("http://127.0.0.1:9/", proxy_url=NOBODY))

    assert f"failed: the proxy {NOBODY} cannot be reached: Connection refused" in error.message


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/",
        "https://169.254.169.254/",
        "http://127.0.0.2/",
        "http://2130706434/",
    ],
)
def test_a_proxy_is_not_asked_for_a_forbidden_address(tmp_path: Path, url: str) -> None:
    """A target is judged before the proxy hears of it, as a literal and as a name."""
    refused = (ip_network("127.0.0.2/32"),)
    with Proxy() as proxy, fetching(tmp_path, refused_networks=refused) as fetcher:
        error = fetcher.fail(url, a_remote(url, proxy_url=proxy.url))

        assert proxy.seen == []
    assert isinstance(error, AddressForbiddenError)
    assert error.message.startswith(f"{url} leads to an address that is not allowed")


def test_a_name_that_only_the_proxy_knows_is_left_to_it(fetcher: Fetcher) -> None:
    """A host that cannot be resolved here is asked for through the proxy."""
    with Proxy(refusal=502) as proxy:
        fetcher.fail(
            "https://inner.invalid/", a_remote("https://inner.invalid/", proxy_url=proxy.url)
        )

    assert proxy.seen[0].startswith("CONNECT inner.invalid:443 ")


def test_a_proxy_at_a_forbidden_address_is_not_asked(tmp_path: Path) -> None:
    """The proxy's address is judged like any other, and the error says that it is the proxy's."""
    with Proxy() as proxy, fetching(tmp_path, allow_loopback=False) as fetcher:
        error = fetcher.fail(
            "http://192.0.2.1/", a_remote("http://192.0.2.1/", proxy_url=proxy.url)
        )

        assert proxy.seen == []
    assert isinstance(error, AddressForbiddenError)
    assert f"The proxy {proxy.url} for http://192.0.2.1/ leads to an address" in error.message


def test_a_remote_does_not_print_its_secrets() -> None:
    """What may come into a log by accident has no secret in it."""
    certificate, key = Authority().client()
    remote = a_remote(
        "https://a.test/",
        client_certificate=certificate,
        secrets={"client_key": key, "token": "x7"},
    )

    assert "x7" not in repr(remote)
    assert "PRIVATE" not in repr(remote)
