"""How a remote is reached, as requests say it: checked as a whole, with secrets by field."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from entrepot_core.domain.errors import FieldInvalidError
from entrepot_core.domain.urls import check_proxy_url
from entrepot_core.downloads.tls import UnusablePemError, client_context

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from entrepot.core.v1 import remote_service_pb2 as pb
    from entrepot_core.store.remotes import RemoteRow

__all__ = ["COLUMNS", "FIELDS", "check_whole", "secret_changes", "values"]

_PLAIN = (
    "username",
    "proxy_url",
    "proxy_username",
    "ca_certificates",
    "client_certificate",
    "verify_tls",
)
_SECRET = ("password", "token", "proxy_password", "client_key")
FIELDS = (*_PLAIN, *_SECRET, "headers")
# What is looked at together.
COLUMNS = ("url", *_PLAIN)

_MOST_HEADERS = 32
_LONGEST_TEXT = 1_024
_LONGEST_SECRET = 8_192
_LONGEST_PEM = 512 * 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?")
# RFC 9110, section 5.6.2
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
# What the downloader says itself, and what would change the meaning of the request.
_OURS = re.compile(
    r"(?i)accept-encoding|connection|content-.*|cookie|expect|host|if-.*|keep-alive|proxy-.*|range"
    r"|t(e|railer)|transfer-encoding|upgrade"
)


def values(remote: pb.Remote, wanted: AbstractSet[str]) -> dict[str, Any]:
    """The columns of those fields that are no secrets. Raises FieldInvalidError."""
    for field in ("username", "proxy_username"):
        text = getattr(remote, field)
        if len(text) > _LONGEST_TEXT or ":" in text or _CONTROL.search(text):
            raise _wrong(
                field, f"must be at most {_LONGEST_TEXT:,} characters, without colon or control."
            )
    for field in ("ca_certificates", "client_certificate"):
        _check_pem(field, getattr(remote, field))
    if remote.proxy_url and "proxy_url" in wanted:
        check_proxy_url(remote.proxy_url, "remote.proxy_url")
    found = {name: getattr(remote, name) for name in _PLAIN}
    found["verify_tls"] = remote.verify_tls if remote.HasField("verify_tls") else True
    return {name: value for name, value in found.items() if name in wanted}


def secret_changes(
    remote: pb.Remote, wanted: AbstractSet[str], current: Iterable[str] = ()
) -> dict[str, str]:
    """Which secrets get which value, by field; an empty value means that it goes.

    `current` are those that are set. Raises FieldInvalidError, which never shows a value.
    """
    changes = {name: getattr(remote, name) for name in _SECRET if name in wanted}
    if remote.token and not _VISIBLE.fullmatch(remote.token):
        raise _wrong("token", "must be visible ASCII characters, without spaces.")
    for field in ("password", "token", "proxy_password"):
        text = getattr(remote, field)
        if len(text) > _LONGEST_SECRET or _CONTROL.search(text):
            raise _wrong(
                field,
                f"must be at most {_LONGEST_SECRET:,} characters, none of them control.",
            )
    _check_pem("client_key", remote.client_key)
    if "headers" in wanted:
        changes |= _header_changes(remote.headers, current)
    return changes


def check_whole(
    after: Mapping[str, Any], secrets: Mapping[str, str | None], before: RemoteRow | None
) -> None:
    """Raises FieldInvalidError if fields do not go together.

    Args:
        after: Columns as they will be.
        secrets: The secrets that will be set, by field; None for one that stays as it is.
        before: The remote, if it is not new.
    """
    if "password" in secrets and not after["username"]:
        raise _wrong("username", "is required with a password.")
    if "token" in secrets and after["username"]:
        raise _wrong("token", "excludes username and password; delete those, or this.")
    has_header = any(name.lower() == "headers.authorization" for name in secrets)
    if has_header and ("token" in secrets or after["username"]):
        raise _wrong("headers", "has Authorization, which excludes username and token.")
    if "proxy_password" in secrets and not after["proxy_username"]:
        raise _wrong("proxy_username", "is required with a password.")
    if after["proxy_username"] and not after["proxy_url"]:
        raise _wrong("proxy_url", "is required with a user name.")
    if after["client_certificate"] and "client_key" not in secrets:
        raise _wrong("client_key", "is required with a certificate.")
    if "client_key" in secrets and not after["client_certificate"]:
        raise _wrong("client_certificate", "is required with a key.")
    if before is not None:
        _check_destinations(after, secrets, before)
    _check_tls(after, secrets, before)


def _check_destinations(
    after: Mapping[str, Any], secrets: Mapping[str, str | None], before: RemoteRow
) -> None:
    """What nobody can read must not be sent to a host of somebody's choice either."""
    for field, theirs in (("url", False), ("proxy_url", True)):
        if _origin(after[field]) == _origin(getattr(before, field)):
            continue
        kept = [
            name
            for name, value in secrets.items()
            if value is None and name != "client_key" and (name == "proxy_password") is theirs
        ]
        if kept:
            raise _wrong(
                field, f"is another host now: give {', '.join(sorted(kept))} again, or delete it."
            )


def _check_tls(
    after: Mapping[str, Any], secrets: Mapping[str, str | None], before: RemoteRow | None
) -> None:
    key = secrets.get("client_key")
    was = "" if before is None else before.client_certificate
    # A key that stays is not at hand here: it was checked with the certificate it came with.
    if "client_key" in secrets and key is None and after["client_certificate"] != was:
        raise _wrong("client_key", "is required with another certificate.")
    if not (key or after["ca_certificates"]):
        return
    try:
        client_context(
            authorities=after["ca_certificates"],
            certificate=after["client_certificate"] if key else "",
            key=key or "",
        )
    except UnusablePemError as error:
        raise _wrong(error.field, str(error)) from None


def _header_changes(given: Mapping[str, str], current: Iterable[str]) -> dict[str, str]:
    if len({name.lower() for name in given}) < len(given):
        raise _wrong("headers", "has the same name twice, as upper and lower case are the same.")
    known = {name.lower(): name for name in current if name.startswith("headers.")}
    # None given means that all go.
    changes = {} if given else dict.fromkeys(known.values(), "")
    for name, value in given.items():
        where = f'headers["{name[:_LONGEST_TEXT]}"]'
        if not _HEADER_NAME.fullmatch(name):
            raise _wrong("headers", "has a name that is not one of a header field.")
        if _OURS.fullmatch(name):
            raise _wrong(where, "cannot be set.")
        if value and not (len(value) <= _LONGEST_SECRET and _HEADER_VALUE.fullmatch(value)):
            raise _wrong(where, f"must be at most {_LONGEST_SECRET:,} printable ASCII characters.")
        # Names of header fields are the same in any case.
        replaced = known.get(f"headers.{name.lower()}")
        if replaced is not None:
            changes[replaced] = ""
        changes[f"headers.{name}"] = value
    remaining = {**dict.fromkeys(known.values(), "set"), **changes}
    if sum(map(bool, remaining.values())) > _MOST_HEADERS:
        raise _wrong("headers", f"must be at most {_MOST_HEADERS}.")
    return changes


def _check_pem(field: str, text: str) -> None:
    if len(text) > _LONGEST_PEM or not text.isascii() or "\0" in text:
        raise _wrong(field, f"must be PEM, of at most {_LONGEST_PEM:,} ASCII characters.")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme.lower())
    return parts.scheme.lower(), parts.hostname, parts.port or default


def _wrong(field: str, message: str) -> FieldInvalidError:
    return FieldInvalidError.at(f"remote.{field}", message)
