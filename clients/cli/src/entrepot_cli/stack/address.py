"""Addresses to listen on: which port a zero means, and whether another program has it already."""

import errno
import socket
from dataclasses import dataclass

from entrepot_cli.outcome import StartError, Status


class AddressError(StartError):
    """Nothing can listen there; the message names the setting to change."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse(text: str, setting: str) -> Address:
    """Read `127.0.0.1:8080` or `[::1]:8080`."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or int(port) >= 1 << 16:
        raise AddressError(
            f"{setting} is {text!r}; it takes host:port, such as 127.0.0.1:8080.",
            status=Status.MISCONFIGURED,
        )
    return Address(host, int(port))


def claim(text: str, setting: str) -> Address:
    """Make sure that a program can listen here now; port 0 becomes one that is free."""
    address = parse(text, setting)
    try:
        family, kind, _, _, target = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(target)
            return Address(address.host, probe.getsockname()[1])
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressError(
                f"{address} is taken by another program. Stop that, or set {setting} "
                f"to a free address; {setting}={Address(address.host, 0)} takes any."
            ) from None
        raise AddressError(f"Cannot listen on {text}, the {setting}: {error}") from None
