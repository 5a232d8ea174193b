"""S10: what a remote has for its own host goes to no other, whoever names that."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from certificates import authority
from fetcher import Fetcher, a_remote, fetching
from proxy import Proxy
from upstream import Upstream, redirects

DATA = b"some bytes"
HEADERS = ("authorization", "cookie", "proxy-authorization", "x-api-key")
SECRETS = {"password": "canary-password", "headers.X-Api-Key": "canary-header"}


@pytest.fixture
def fetcher(tmp_path: Path) -> Iterator[Fetcher]:
    """What asks."""
    with fetching(tmp_path) as fetcher:
        yield fetcher


@pytest.fixture(params=["http", "https"])
def hosts(request: pytest.FixtureRequest) -> Iterator[tuple[Upstream, Upstream]]:
    """The remote's own host, and another; with TLS both ask for client certificates."""
    tls = authority().server(clients=authority()) if request.param == "https" else None
    with Upstream({"file": DATA}, tls=tls) as own, Upstream({"file": DATA}, tls=tls) as other:
        yield own, other


def identified(own: Upstream, **given: object) -> dict[str, object]:
    """Fields of a remote that has every way to identify."""
    certificate, key = authority().client()
    return {
        "username": "user",
        "ca_certificates": authority().pem,
        "client_certificate": certificate,
        "secrets": {**SECRETS, "client_key": key},
        **given,
    }


def shown(upstream: Upstream) -> list[tuple[set[str], bool]]:
    """What each request has shown of us: header fields, and whether there was a certificate."""
    return [
        ({name for name in HEADERS if name in request.headers}, request.is_certified)
        for request in upstream.requests
    ]


def test_a_redirect_to_another_host_takes_nothing_along(
    fetcher: Fetcher, hosts: tuple[Upstream, Upstream]
) -> None:
    """The own host sees all, the other that a redirect names nothing."""
    own, other = hosts
    own.behave("file", redirects(location=other.url + "file"))

    data = fetcher.get(own.url + "file", a_remote(own.url, **identified(own)))

    assert data == DATA
    assert [({"authorization", "x-api-key"}, own.tls is not None)] == shown(own)
    assert [(set(), False)] == shown(other)


def test_a_source_on_another_host_gets_nothing(
    fetcher: Fetcher, hosts: tuple[Upstream, Upstream]
) -> None:
    """The URL of a file that metadata of the remote names is asked without credentials."""
    own, other = hosts

    fetcher.get(other.url + "file", a_remote(own.url, **identified(own)))

    assert [(set(), False)] == shown(other)


def test_another_name_of_the_same_machine_is_another_host(
    fetcher: Fetcher, hosts: tuple[Upstream, Upstream]
) -> None:
    """What counts is scheme, name and port as they stand in the URL, not where they lead."""
    own, _ = hosts

    fetcher.get(
        own.url.replace("127.0.0.1", "localhost") + "file", a_remote(own.url, **identified(own))
    )

    assert [(set(), False)] == shown(own)


def test_who_leads_us_back_does_not_act_for_us(
    fetcher: Fetcher, hosts: tuple[Upstream, Upstream]
) -> None:
    """A redirect from another host to the remote's own is followed without credentials."""
    own, other = hosts
    own.behave("file", redirects(location=other.url + "there"))
    other.behave("there", redirects(location=own.url + "moved/file"))

    fetcher.get(own.url + "file", a_remote(own.url, **identified(own)))

    assert [({"authorization", "x-api-key"}, own.tls is not None), (set(), False)] == shown(own)


def test_a_redirect_within_the_host_keeps_them(
    fetcher: Fetcher, hosts: tuple[Upstream, Upstream]
) -> None:
    """Each request of a chain that never leaves the own host has the credentials."""
    own, _ = hosts
    own.behave("file", redirects())

    fetcher.get(own.url + "file", a_remote(own.url, **identified(own)))

    assert [({"authorization", "x-api-key"}, own.tls is not None)] * 2 == shown(own)


def test_the_proxy_alone_sees_its_password(
    fetcher: Fetcher, hosts: tuple[Upstream, Upstream]
) -> None:
    """No upstream gets the proxy's password, and in a tunnel the proxy sees nothing."""
    own, other = hosts
    own.behave("file", redirects(location=other.url + "file"))
    with Proxy("passer", "canary-proxy") as proxy:
        remote = a_remote(
            own.url,
            **identified(own, proxy_url=proxy.url, proxy_username="passer"),
        )
        remote.secrets["proxy_password"] = "canary-proxy"  # type: ignore[index]

        assert DATA == fetcher.get(own.url + "file", remote)

    assert [({"authorization", "x-api-key"}, own.tls is not None)] == shown(own)
    assert [(set(), False)] == shown(other)
    assert len(proxy.seen) == 2
    assert all("Proxy-Authorization: Basic " in head for head in proxy.seen)
    if own.tls is not None:
        assert not any("\r\nAuthorization" in head or "X-Api-Key" in head for head in proxy.seen)
