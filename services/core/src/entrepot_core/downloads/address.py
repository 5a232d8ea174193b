"""Which addresses we connect to. What counts is the address itself, whatever name led to it."""

from __future__ import annotations

import errno
import ipaddress
import socket

__all__ = ["ForbiddenAddress", "guarded_socket", "is_allowed"]

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Where clouds tell machines their secrets, besides the link-local addresses.
_METADATA = frozenset(
    ipaddress.ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200", "192.0.0.192")
)

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class ForbiddenAddress(OSError):  # noqa: N818  it is what happened to a connection
    """We do not connect there."""

    def __init__(self) -> None:
        # Always the same text: when all addresses of a name are refused, this is what comes out.
        super().__init__(errno.EACCES, "the address is not allowed")


def is_allowed(address: str, *, loopback: bool) -> bool:
    """Whether we may connect to an address; `loopback` allows this machine's own."""
    try:
        found: _Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(_is_allowed(meant, loopback=loopback) for meant in _meanings(found))


def guarded_socket(
    family: int, kind: int, protocol: int, address: str, *, loopback: bool
) -> socket.socket:
    """A socket for a connection to an address; ForbiddenAddress if it must not be made."""
    if family not in (socket.AF_INET, socket.AF_INET6) or not is_allowed(
        address, loopback=loopback
    ):
        raise ForbiddenAddress
    return socket.socket(family, kind, protocol)


def _is_allowed(address: _Address, *, loopback: bool) -> bool:
    if address.is_loopback or address.is_unspecified:
        return loopback
    return not (
        address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address in _METADATA
    )


def _meanings(address: _Address) -> list[_Address]:
    """The address, and those it stands for: several notations carry IPv4 in IPv6."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    embedded = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        embedded.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    found: list[_Address] = [part for part in embedded if part is not None]
    # ::ffff:a.b.c.d is "reserved" as IPv6, and means nothing but the IPv4 address.
    return found if address.ipv4_mapped or address in _NAT64 else [address, *found]
