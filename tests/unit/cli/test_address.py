"""Addresses: what can be listened on, and what the error says if not."""

import socket

import pytest

from entrepot_cli.stack.address import AddressError, claim, parse


def test_an_address_that_is_taken_names_its_setting() -> None:
    """The error has the address, the setting, and a way out."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        with pytest.raises(AddressError, match=rf"{address} is taken.*ENTREPOT_HTTP"):
            claim(address, "ENTREPOT_HTTP")


def test_port_zero_becomes_one_that_is_free() -> None:
    """Port 0 is any."""
    assert claim("127.0.0.1:0", "ENTREPOT_HTTP").port > 0


@pytest.mark.parametrize("text", ["8080", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:70000", ":80"])
def test_what_is_no_address_is_refused(text: str) -> None:
    """The error shows the form."""
    with pytest.raises(AddressError, match="host:port"):
        parse(text, "ENTREPOT_HTTP")


def test_six_is_understood() -> None:
    """An IPv6 address stands in brackets, and is printed so."""
    assert str(parse("[::1]:8080", "ENTREPOT_HTTP")) == "[::1]:8080"
