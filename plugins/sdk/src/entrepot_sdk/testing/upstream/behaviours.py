"""All behaviours by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_sdk.testing.upstream.broken import BROKEN
from entrepot_sdk.testing.upstream.honest import HONEST
from entrepot_sdk.testing.upstream.lying import LYING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from entrepot_sdk.testing.upstream.exchange import Exchange

__all__ = ["BEHAVIOURS", "EVIL_LOCATIONS"]

BEHAVIOURS: dict[str, Callable[[Exchange], Awaitable[None]]] = {
    behaviour.__name__: behaviour for behaviour in (*HONEST, *BROKEN, *LYING)
}
"""The behaviours by name; `Upstream.add` takes these names, or any function like them."""

EVIL_LOCATIONS = {
    "a file": "file:///etc/passwd",
    "another protocol": "ftp://127.0.0.1/x",
    "a socket": "unix:/run/docker.sock",
    "bytes": "data:text/plain,x",
    "no host": "http:///x",
    "nothing": "",
    "a port that is none": "http://127.0.0.1:0/",
    "a password": "http://user:secret@127.0.0.1/",
    "a user": "http://user@127.0.0.1/",
    "a space": "/a b",
    "a tab": "/a\tb",
    "an escape": "/a\x1b[31mb",
    "a vertical tab": "/a\x0bX-Evil: 1",
    "half a line break": "/a\rX-Evil: 1",
    "link-local": "http://169.254.169.254/latest/meta-data",
    "link-local in IPv6": "http://[fe80::1]/",
    "link-local, mapped": "http://[::ffff:169.254.169.254]/",
    "link-local behind NAT64": "http://[64:ff9b::a9fe:a9fe]/",
    "link-local in 6to4": "http://[2002:a9fe:a9fe::]/",
    "link-local as a number": "http://2852039166/",
    "link-local in hexadecimal": "http://0xa9.0xfe.0xa9.0xfe/",
    "multicast": "http://224.0.0.1/",
    "everybody": "http://255.255.255.255/",
}
"""Where no redirect should lead, by what is wrong with it: locations for `redirect`."""
