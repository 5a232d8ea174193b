"""URLs of upstreams: which are usable, where a redirect leads, and how they are shown."""

from __future__ import annotations

import re

from yarl import URL

__all__ = ["UnusableUrlError", "follow", "host_of", "parse_url", "printable", "shown"]

# Surrogates are bytes that were no UTF-8, which nothing could encode again.
_CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
# Also where there is no scheme, as in Location.
_USER = re.compile(r"(?<=//)[^/?#]*@")
_PLAIN = re.compile(r"[\x21-\x7e]+")
_SHOWN = 1_000


class UnusableUrlError(ValueError):
    """A URL that we do not ask; its text says why."""


def parse_url(text: str) -> URL:
    """The URL, exactly as it is spelled; UnusableUrlError if it is not one that we ask."""
    if _CONTROL.search(text):
        raise UnusableUrlError("it contains a space or a control character")
    try:
        url = URL(text, encoded=_PLAIN.fullmatch(text) is not None)
        host, port = url.host, url.port
        # What looks the name up does so too, and would fail where nobody expects it.
        (url.raw_host or "").encode("idna")
    except ValueError as error:
        raise UnusableUrlError("it is malformed") from error
    if url.scheme not in ("http", "https"):
        raise UnusableUrlError(f'its scheme is "{printable(url.scheme)}", not http or https')
    if not host or port == 0:
        raise UnusableUrlError("it names no host")
    if url.user is not None or url.password is not None or "@" in url.raw_authority:
        raise UnusableUrlError("it contains user information")
    return url.with_fragment(None) if url.raw_fragment else url


def follow(url: URL, location: str) -> URL:
    """Where a redirect leads; UnusableUrlError if we do not go there."""
    if not location:
        raise UnusableUrlError("it does not say where to")
    if _CONTROL.search(location):
        raise UnusableUrlError("it contains a space or a control character")
    try:
        joined = url.join(URL(location, encoded=_PLAIN.fullmatch(location) is not None))
    except ValueError as error:
        raise UnusableUrlError("it is malformed") from error
    target = parse_url(str(joined))
    if url.scheme == "https" and target.scheme == "http":
        raise UnusableUrlError("it leads from https to http")
    return target


def host_of(url: str) -> str:
    """The host's name or address alone, printable; empty if there is none."""
    try:
        return printable(URL(url).host or "", 253)
    except ValueError:
        return ""


def printable(text: str, longest: int = _SHOWN) -> str:
    """Text from outside as it may stand in a message: no control characters, not too long."""
    clean = _UNPRINTABLE.sub("�", text)
    return clean if len(clean) <= longest else clean[:longest] + "…"


def shown(url: str, longest: int = _SHOWN) -> str:
    """A URL as it may stand in a message: printable, without a user name and a password."""
    return printable(_USER.sub("…@", url, count=1), longest)
