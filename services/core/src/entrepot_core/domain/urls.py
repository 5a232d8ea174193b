"""The rule for URLs of remotes."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import urlsplit

from entrepot_core.domain.errors import FieldInvalidError

__all__ = [
    "MAX_SOURCE_BYTES",
    "MAX_URL_BYTES",
    "check_proxy_url",
    "check_remote_url",
    "check_source_url",
]

MAX_URL_BYTES = 2000
# A path below that, percent-encoded: three bytes for each of its 1,024.
MAX_SOURCE_BYTES = 8000

_ORIGIN = re.compile("https?://[^/?#]+")
_FORBIDDEN = re.compile("[\x00-\x20\x7f-\x9f\ud800-\udfff\\\\]")


def check_remote_url(url: str, field: str) -> str:
    """The URL itself. Raises FieldInvalidError if it is not an absolute http or https URL.

    User information is refused, as a URL is shown and logged.
    """
    return _check(url, field, MAX_URL_BYTES, "username and password")


def check_proxy_url(url: str, field: str) -> str:
    """The same for the URL of a proxy, which is http and has no path."""
    _check(url, field, MAX_URL_BYTES, "proxy_username and proxy_password")
    parts = urlsplit(url)
    if parts.scheme.lower() != "http" or parts.path not in ("", "/") or parts.query:
        raise FieldInvalidError.at(field, "must be an http URL without path, with host and port.")
    return url


def check_source_url(url: str, field: str) -> str:
    """The same for the URL of a file of a remote, which is longer by the path of the file."""
    return _check(url, field, MAX_SOURCE_BYTES, "username and password of the remote")


def _check(url: str, field: str, most_bytes: int, instead: str) -> str:
    fault = _fault(url, most_bytes, instead)
    if fault:
        raise FieldInvalidError.at(field, fault)
    return url


def _fault(url: str, most_bytes: int, instead: str) -> str:
    if not url:
        return "is required."
    if _FORBIDDEN.search(url):
        return "has a space, a backslash or a control character; write it percent-encoded."
    if len(url.encode()) > most_bytes:
        return f"is longer than {most_bytes} bytes."
    # A manifest has thousands of URLs, and their origins are the same.
    origin = _ORIGIN.match(url)
    return _fault_of_parts(origin[0] if origin and "#" not in url else url, instead)


@lru_cache(maxsize=1_000)
def _fault_of_parts(url: str, instead: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"is not a URL: {error}."
    if parts.scheme.lower() not in {"http", "https"}:
        return "must be an absolute http or https URL."
    if not parts.hostname:
        return "names no host."
    try:
        # What looks the name up does so too, and would fail where nobody expects it.
        parts.hostname.encode("idna")
    except UnicodeError:
        return "has a host name with an empty part, or with one longer than 63 characters."
    if port == 0:
        return "has no usable port."
    if "@" in parts.netloc:
        return (
            "must not have user name or password in it, as it is shown and logged; leave out what "
            f'stands before the "@", and use {instead}.'
        )
    return "must not have a fragment." if parts.fragment else ""
