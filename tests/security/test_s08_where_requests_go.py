"""S08: no URL and no redirect makes us ask an address that is refused, however it is written.

What counts is the address that would be connected to: a witness on it sees nobody.
"""

import socket
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from download_client import Client
from entrepot_core.domain.errors import AddressForbiddenError, DownloadFailedError, ServiceError
from entrepot_sdk.testing import Upstream
from entrepot_sdk.testing.upstream import EVIL_LOCATIONS

# An address of this machine that we refuse as if it were the operator's own network.
INNER = "127.0.0.2"
REFUSED = (ip_network("127.0.0.2/31"), ip_network("::1/128"), ip_network("10.0.0.0/8"))
SPELLINGS = {
    "plain": "127.0.0.2",
    "short": "127.2",
    "a number": "2130706434",
    "hexadecimal": "0x7f000002",
    "hexadecimal parts": "0x7f.0x0.0x0.0x2",
    "octal": "0177.0.0.02",
    "octal with zeros": "00177.000.000.002",
    "other digits": "\uff11\uff12\uff17.\uff10.\uff10.\uff12",
    "other dots": "127\u30020\u30020\u30022",
    "mapped": "[::ffff:127.0.0.2]",
    "mapped, hexadecimal": "[::ffff:7f00:2]",
    "mapped, in full": "[0:0:0:0:0:ffff:7f00:0002]",
    "compatible": "[::127.0.0.2]",
    "NAT64": "[64:ff9b::127.0.0.2]",
    "local NAT64": "[64:ff9b:1::127.0.0.2]",
    "6to4": "[2002:7f00:2::]",
    "a name": "inner.example",
    "a name with a dot": "inner.example.",
    "IPv6": "[::1]",
    "private": "10.1.2.3",
    "private, mapped": "[::ffff:10.1.2.3]",
    "link-local": "169.254.169.254",
    "link-local, a number": "2852039166",
    "link-local, mapped": "[::ffff:a9fe:a9fe]",
    "link-local, IPv6 with a zone": "[fe80::1%25lo]",
    "clouds": "[fd00:ec2::254]",
    "multicast": "224.0.0.1",
    "broadcast": "255.255.255.255",
}


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client of an operator who refuses networks, and a name that leads into one of them."""
    resolve = socket.getaddrinfo

    def resolving(host: str, *rest: Any, **more: Any) -> Any:  # noqa: ANN401  whatever is asked
        known = host in ("inner.example", "inner.example.")
        return resolve(INNER if known else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolving)
    with Client(tmp_path, refused_networks=REFUSED) as client:
        yield client


@pytest.fixture
def witness() -> Iterator[socket.socket]:
    """Somebody who listens where nobody should come, on both kinds of address."""
    with socket.create_server((INNER, 0)) as server:
        server.setblocking(False)
        yield server
        with pytest.raises(BlockingIOError):
            server.accept()


def is_refused(error: ServiceError) -> bool:
    """Whether it was refused before anybody was asked."""
    if isinstance(error, AddressForbiddenError):
        return True
    refused = "cannot be asked" in error.message or "which is not followed" in error.message
    return isinstance(error, DownloadFailedError) and refused and not error.retryable


@pytest.mark.parametrize("host", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_a_remote_leads_to_no_refused_address(
    client: Client, witness: socket.socket, host: str
) -> None:
    """S08: a URL that a user gives is not asked if its address is refused."""
    error = client.fail(f"http://{host}:{witness.getsockname()[1]}/latest/meta-data")

    assert is_refused(error), error.message


@pytest.mark.parametrize("host", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_a_redirect_leads_to_no_refused_address(
    client: Client, witness: socket.socket, upstream: Upstream, host: str
) -> None:
    """S08: an upstream that may be asked leads to no address that is refused."""
    location = f"http://{host}:{witness.getsockname()[1]}/".encode().decode("latin-1")

    error = client.fail(upstream.add("/a", behaviour="redirect", location=location))

    assert is_refused(error), error.message
    assert upstream.hits["/a"] == 1


@pytest.mark.parametrize("location", EVIL_LOCATIONS.values(), ids=EVIL_LOCATIONS.keys())
def test_evil_locations(client: Client, upstream: Upstream, location: str) -> None:
    """S08: neither other schemes nor odd URLs are followed, or asked."""
    redirected = client.fail(upstream.add("/a", behaviour="redirect", location=location))
    direct = client.fail(location)

    assert not getattr(redirected, "retryable", False)
    assert not getattr(direct, "retryable", False)
    assert upstream.hits["/a"] == 1
    assert is_refused(direct), direct.message


def test_what_is_not_refused_is_asked(client: Client, upstream: Upstream) -> None:
    """S08: the same client fetches from an address that is allowed."""
    assert client.get(upstream.add("/a", b"data"))[1] == b"data"
