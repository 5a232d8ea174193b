"""Which addresses we connect to. What counts is the address itself, whatever name led to it."""

from __future__ import annotations

import errno
import ipaddress
import socket
from dataclasses import dataclass

__all__ = ["AddressPolicy", "ForbiddenAddress", "Network", "parse_networks"]

_THIS_HOST = ipaddress.ip_network("0.0.0.0/8")
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.ip_network("64:ff9b:1::/48")
# Where clouds tell machines their secrets, besides the link-local addresses.
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ForbiddenAddress(OSError):  # noqa: N818  it is what happened to a connection
    """We do not connect there."""

    def __init__(self) -> None:
        # Always the same text: when all addresses of a name are refused, this is what comes out.
        super().__init__(errno.EACCES, "the address is not allowed")


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Where connections may go.

    Link-local, multicast and reserved addresses, and those where clouds keep secrets, are always
    refused; `loopback` allows this machine's own; `refused` are the operator's networks.
    """

    loopback: bool
    refused: tuple[Network, ...] = ()

    def allows(self, address: str) -> bool:
        """Whether we may connect to an address, in every meaning that it has."""
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        return all(self._allows(meant) for meant in _meanings(found))

    def socket(self, family: int, kind: int, protocol: int, address: str) -> socket.socket:
        """A socket for a connection to an address; ForbiddenAddress if it must not be made."""
        if family not in (socket.AF_INET, socket.AF_INET6) or not self.allows(address):
            raise ForbiddenAddress
        return socket.socket(family, kind, protocol)

    def _allows(self, address: _Address) -> bool:
        if any(address in network for network in self.refused):
            return False
        if address.is_loopback or address.is_unspecified or address in _THIS_HOST:
            return self.loopback
        return not (
            address.is_link_local
            or address.is_multicast
            or address.is_reserved
            or address in _METADATA
        )


def parse_networks(text: str) -> tuple[Network, ...]:
    """Networks from their notation, separated by commas; ValueError that names a wrong one."""
    return tuple(_network(part.strip()) for part in text.split(",") if part.strip())


def _network(text: str) -> Network:
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(
            f'"{text}" is not a network such as 10.0.0.0/8 or fd00::/8 ({error})'
        ) from None
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        # Addresses in this notation are looked at as what they mean, and so are networks.
        address = ipaddress.IPv4Address(int(network.network_address) & 0xFFFFFFFF)
        return ipaddress.IPv4Network((address, network.prefixlen - 96))
    return network


def _meanings(address: _Address) -> list[_Address]:
    """The address, and those it stands for: several notations carry IPv4 in IPv6."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped:
        # It is "reserved" as IPv6, and means nothing but the IPv4 address.
        return [address.ipv4_mapped]
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    if address in _NAT64_LOCAL:
        return _embedded_locally(int(address))
    embedded = (address.sixtofour, *(address.teredo or ()))
    return [address, *(part for part in embedded if part is not None)]


def _embedded_locally(address: int) -> list[_Address]:
    """What an address of RFC 8215 may stand for: RFC 6052 2.2, by a prefix of 96 or 48 bits."""
    after_96 = address & 0xFFFFFFFF
    after_48 = (address >> 64 & 0xFFFF) << 16 | address >> 40 & 0xFFFF
    return [ipaddress.IPv4Address(part) for part in (after_96, after_48) if part]
