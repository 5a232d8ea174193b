"""Settings as every process reads them: what may be, and a sentence about what may not.

An empty variable is like none. All functions raise ValueError, whose text begins with the name of
the variable and says what it may be; the value of a secret is never in it.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = [
    "address",
    "flag",
    "is_private",
    "metrics",
    "refused",
    "require_sendable",
    "seconds",
    "token",
    "url",
    "word",
]

_DAY = 86_400
_SOCKETS = ("unix:", "unix-abstract:")
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]*):(?P<port>[0-9]{1,5})")
_MAX_PORT = 65_535
# RFC 9110, section 5.6.2, and what surrounds it: whatever is visible can be sent in a field.
_SENDABLE = re.compile(r"[\x21-\x7e]*")
_SHOWN = 100


@contextmanager
def refused(program: str) -> Iterator[None]:
    """Ends the process with status 78 (EX_CONFIG) if a setting read in here cannot be used.

    Nobody need start it again before the setting is another.
    """
    try:
        yield
    except ValueError as error:
        sys.stderr.write(f"{program}: {error}\n")
        raise SystemExit(os.EX_CONFIG) from None


def seconds(
    env: Mapping[str, str], name: str, default: float, *, least: float = 0, most: float = _DAY
) -> float:
    """A number of seconds, with a fraction or without."""
    text = env.get(name) or str(default)
    if not _NUMBER.fullmatch(text) or not least <= float(text) <= most:
        raise ValueError(
            f"{name}: {_shown(text)} is not a number of seconds from {least:g} to {most:.0f}."
        )
    return float(text)


def flag(env: Mapping[str, str], name: str, *, default: bool) -> bool:
    """Yes or no, as 1 or 0."""
    text = env.get(name) or str(int(default))
    if text not in ("0", "1"):
        raise ValueError(f"{name}: {_shown(text)} is neither 1 nor 0.")
    return text == "1"


def word(env: Mapping[str, str], name: str, words: Sequence[str], default: str) -> str:
    """One of some words, in any case."""
    text = env.get(name) or default
    if text.lower() not in words:
        raise ValueError(f"{name}: {_shown(text)} is none of {', '.join(words)}.")
    return text.lower()


def address(env: Mapping[str, str], name: str, default: str, *, or_socket: bool = False) -> str:
    """Where a process listens: host:port; an empty host is every address of the machine.

    Args:
        env: The environment.
        name: Of the variable.
        default: If there is none; also the example in the error.
        or_socket: Whether it may be a socket of the file system, `unix:/path`.
    """
    text = env.get(name) or default
    if or_socket and text.startswith(_SOCKETS):
        return text
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > _MAX_PORT:
        raise ValueError(f"{name}: {_shown(text)} is not host:port, such as {default}.")
    return text


def is_private(listen: str) -> bool:
    """Whether no other machine can reach an address that is host:port, or a socket."""
    if listen.startswith(_SOCKETS):
        return True
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def url(env: Mapping[str, str], name: str, default: str) -> str:
    """Where clients find something over HTTP, without a slash at its end."""
    text = env.get(name) or default
    if "@" in text:
        raise ValueError(f"{name}: it has a name or password in it, which everybody would see.")
    if not _is_origin(text):
        raise ValueError(
            f"{name}: {_shown(text)} is not an http:// or https:// URL with a host, "
            "and without ? or #."
        )
    return text.rstrip("/")


def token(env: Mapping[str, str], name: str) -> str:
    """A secret that is sent in a header field; empty: there is none."""
    return require_sendable(env.get(name) or "", name)


def require_sendable(secret: str, name: str) -> str:
    """The secret, if a header field can carry it."""
    if not _can_be_sent(secret):
        raise ValueError(
            f"{name}: it takes letters, digits and punctuation of ASCII, without spaces; "
            "no header of HTTP can carry what is there."
        )
    return secret


def metrics(env: Mapping[str, str]) -> tuple[str, str]:
    """Where metrics are shown, empty if nowhere, and the token that is needed to read them."""
    name = "ENTREPOT_METRICS"
    secret = token(env, f"{name}_TOKEN")
    if not env.get(name):
        return "", secret
    listen = address(env, name, "127.0.0.1:9464")
    if not secret and not is_private(listen):
        raise ValueError(
            f"{name}: others can reach {listen}; set {name}_TOKEN, which Prometheus then sends as "
            "a bearer token, or listen on 127.0.0.1."
        )
    return listen, secret


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    is_http = parts.scheme in ("http", "https")
    return has_host and is_http and not parts.query and not parts.fragment and _can_be_sent(text)


def _can_be_sent(text: str) -> bool:
    return _SENDABLE.fullmatch(text) is not None


def _shown(text: str) -> str:
    """A value in an error, on one line and not endless."""
    return json.dumps(text[:_SHOWN], ensure_ascii=False)
