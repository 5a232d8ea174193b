"""Which addresses and URLs are asked."""

import pytest

from entrepot_core.downloads.address import AddressPolicy, parse_networks
from entrepot_core.downloads.url import UnusableUrlError, follow, parse_url, printable


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "10.0.0.1", "192.168.1.1", "2606:4700::1111"]
)
def test_hosts_and_private_networks_are_allowed(address: str) -> None:
    """Mirrors are on the internet and in companies' own networks."""
    assert AddressPolicy(loopback=False).allows(address)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::169.254.169.254",
        "64:ff9b:1:a9fe:a9:fe00::",
        "2002:a9fe:a9fe::1",
        "::169.254.169.254",
        "168.63.129.16",
        "fd00:ec2::254",
        "224.0.0.1",
        "255.255.255.255",
        "not an address",
    ],
)
def test_never_allowed(address: str) -> None:
    """Link-local addresses, clouds' secrets, multicast and nonsense are refused in every form."""
    assert not AddressPolicy(loopback=True).allows(address)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "0.1.2.3", "::", "::ffff:127.0.0.1"],  # noqa: S104
)
def test_loopback_is_a_setting(address: str) -> None:
    """This machine is allowed if the configuration says so."""
    assert AddressPolicy(loopback=True).allows(address)
    assert not AddressPolicy(loopback=False).allows(address)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.255.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::10.0.0.1", False),
        ("64:ff9b:1::10.0.0.1", False),
        ("2002:0a00:0001::1", False),
        ("192.168.7.7", False),
        ("192.168.8.7", True),
        ("172.16.0.1", False),
        ("172.16.0.2", True),
        ("fd00:1::1", False),
        ("fd01::1", True),
        ("93.184.216.34", True),
        ("64:ff9b:1::93.184.216.34", True),
    ],
)
def test_an_operator_refuses_networks(address: str, *, allowed: bool) -> None:
    """What a network contains is refused in every form, and nothing else."""
    refused = parse_networks("10.0.0.0/8, ::ffff:192.168.7.0/120,172.16.0.1,fd00::/16,")

    assert AddressPolicy(loopback=True, refused=refused).allows(address) == allowed


def test_loopback_can_be_refused_by_its_network() -> None:
    """A network that is refused is refused, also where loopback is allowed."""
    policy = AddressPolicy(loopback=True, refused=parse_networks("127.0.0.0/8"))

    assert not policy.allows("::ffff:127.0.0.1")
    assert policy.allows("::1")


@pytest.mark.parametrize(
    "text", ["10.0.0/8", "10.0.0.1/8", "10.0.0.0/33", "localhost", "fd00::/129"]
)
def test_what_is_no_network(text: str) -> None:
    """A network that cannot be is named, with how one is written."""
    with pytest.raises(ValueError, match=f'"{text}" is not a network such as 10.0.0.0/8'):
        parse_networks(f"fd00::/8,{text}")


@pytest.mark.parametrize("text", ["http://h/a%2Fb?c=%20d", "https://h:8443/%C3%A4", "http://h"])
def test_urls_are_asked_as_they_are_spelled(text: str) -> None:
    """What is encoded stays encoded: a signature may depend on it."""
    assert str(parse_url(text)).rstrip("/") == text


def test_other_letters_are_encoded() -> None:
    """A URL with letters outside ASCII is asked in the form that HTTP has for it."""
    assert str(parse_url("http://h/ä")) == "http://h/%C3%A4"


def test_fragments_are_not_sent() -> None:
    """What follows # is the client's own business."""
    assert str(parse_url("http://h/a#b")) == "http://h/a"


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/b", "http://h/b"),
        ("b", "http://h/a/b"),
        ("//other/b", "http://other/b"),
        ("https://other/b", "https://other/b"),
        ("?c=d", "http://h/a/f?c=d"),
    ],
)
def test_redirects_are_relative_to_where_they_come_from(location: str, target: str) -> None:
    """A location is joined as a browser would."""
    assert str(follow(parse_url("http://h/a/f"), location)) == target


@pytest.mark.parametrize("location", ["http://h/b", "//u:p@h/", "ftp://h/", "\r\nX: y", "/a b"])
def test_redirects_that_are_not_followed(location: str) -> None:
    """From https nothing leads back to http, and nowhere does a line break or a password lead."""
    with pytest.raises(UnusableUrlError):
        follow(parse_url("https://h/a"), location)


def test_printable_text() -> None:
    """What could move a cursor or turn the text around is replaced, and the length capped."""
    assert printable("a\x1b[31m\n\u202eb") == "a\ufffd[31m\ufffd\ufffdb"
    assert printable("x" * 2000) == "x" * 1000 + "…"
