"""What can go wrong with a try, in words, and whether trying again may help."""

from __future__ import annotations

import email.utils
import errno
import os
import re
import socket
import time
from datetime import UTC
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp

from entrepot_core.domain.errors import (
    AddressForbiddenError,
    DownloadFailedError,
)
from entrepot_core.downloads import tls
from entrepot_core.downloads.address import ForbiddenAddress
from entrepot_core.downloads.transfer import LEAST_BYTES, BrokenOffError, StalledError
from entrepot_core.downloads.url import printable, shown

if TYPE_CHECKING:
    from yarl import URL

    from entrepot_core.domain.errors import (
        ServiceError,
    )
    from entrepot_core.downloads.request import Source

__all__ = [
    "Failure",
    "of_exception",
    "of_range",
    "of_refusal",
    "of_status",
    "out_of_time",
    "retry_after",
    "unusable",
]

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
# What a host, or a proxy before it, answers whatever it is asked for.
_HOST_DOWN = frozenset({429, 502, 503, 504})
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_LONGEST_REASON = 100
_FORBIDDEN, _PROXY_UNAUTHORIZED = 403, 407
# An upstream that wants to be left alone for longer is not waited for.
_LONGEST_WAIT = 120.0
# What it asks for is passed on up to this: a day.
_LONGEST_TOLD = 86_400.0
_SECONDS = re.compile("[0-9]{1,15}")
# Names that no name server knows; with others, such as EAI_AGAIN, none could be asked.
_UNKNOWN_NAME = frozenset({socket.EAI_NONAME, socket.EAI_FAIL, socket.EAI_NODATA})


class Failure(Exception):  # noqa: N818  internal: what is shown is its error
    """A try that failed.

    Args:
        error: What to show.
        is_passing: Another try may succeed.
        wait_seconds: How long the upstream wants to be left alone before.
        is_absent: Nobody answered: a task is not repeated for it when the tries are used up.
        is_host_down: It was the host that failed, and not this one file.
    """

    def __init__(
        self,
        error: ServiceError,
        *,
        is_passing: bool = False,
        wait_seconds: float | None = None,
        is_absent: bool = False,
        is_host_down: bool = False,
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.is_host_down = is_host_down
        self.is_passing = is_passing
        self.wait_seconds = wait_seconds
        self.is_absent = is_absent

    @property
    def is_repeatable(self) -> bool:
        """Whether a later attempt of the task may succeed."""
        return self.is_passing and not self.is_absent


def of_status(
    url: str,
    unit: str,
    status: int,
    reason: str | None,
    wait_seconds: float | None,
    hint: str = "",
) -> Failure:
    """The source answered, but not with the file; the hint says what may help."""
    is_passing = status in _PASSING
    if wait_seconds is not None and wait_seconds > _LONGEST_WAIT:
        is_passing = False
    error = _error(url, unit, f"answered {_status_words(status, reason)}{hint}")
    error.metadata["http_status"] = str(status)
    error.retry_after_seconds = wait_seconds
    return Failure(
        error,
        is_passing=is_passing,
        wait_seconds=wait_seconds,
        is_host_down=status in _HOST_DOWN,
    )


def of_refusal(
    source: Source,
    unit: str,
    url: URL,
    response: aiohttp.ClientResponse,
    *,
    identified: bool,
) -> Failure:
    """The source, or what it led to, wants other credentials: 401, 403, or 407 from the proxy."""
    remote = source.remote
    if response.status == _PROXY_UNAUTHORIZED:
        return _of_proxy(source, unit, response.status, response.reason)
    has_some = bool(remote.username or remote.client_certificate or remote.secrets)
    if not identified and has_some:
        hint = (
            f"; the credentials of {remote.full_name} were not sent, as {url.origin()} is not the"
            " host of its URL"
        )
    elif has_some:
        hint = f"; the credentials of {remote.full_name} do not suffice"
    elif response.status == _FORBIDDEN or not remote.full_name:
        hint = ""
    else:
        hint = f"; give {remote.full_name} a username and password, or a token"
    return of_status(source.url, unit, response.status, response.reason, None, hint)


def unusable(url: str, unit: str, why: str, redirect: str | None = None) -> Failure:
    """The URL, or the one that it redirects to, is not asked."""
    if redirect is None:
        return Failure(_error(url, unit, f"cannot be asked: {why}", verb=""))
    target = shown(redirect, _LONGEST_REASON)
    return Failure(_error(url, unit, f'redirects to "{target}", which is not followed: {why}'))


def of_exception(
    source: Source, unit: str, error: Exception, at: URL, *, answered: bool
) -> Failure:
    """The conversation broke off, where redirects had led; `answered`: after it had begun well."""
    url = source.url
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return _of_proxy(source, unit, error.status, error.message)
    # With a proxy, its name is the only one that we look up.
    is_of_proxy = isinstance(error, aiohttp.ClientProxyConnectionError) or (
        isinstance(error, aiohttp.ClientConnectorDNSError) and bool(source.remote.proxy_url)
    )
    if isinstance(error, ForbiddenAddress) or (
        isinstance(error, aiohttp.ClientConnectorError)
        and isinstance(error.os_error, ForbiddenAddress)
    ):
        what = shown(url)
        if is_of_proxy:
            what = f"The proxy {source.remote.proxy_url} for {what}"
        return Failure(
            AddressForbiddenError(
                f"{what} leads to an address that is not allowed{_purpose(unit)}.",
                metadata=_metadata(url, unit),
            )
        )
    if isinstance(error, aiohttp.InvalidURL):
        return unusable(url, unit, "it is malformed")
    if isinstance(error, tls.UnusablePemError):
        why = f"{error.field} of {source.remote.full_name} {error}".rstrip(".")
        return unusable(url, unit, why)
    words = _words(error, at)
    if (
        isinstance(error, aiohttp.ServerDisconnectedError)
        and at.scheme == "https"
        and not source.remote.client_certificate
    ):
        # In TLS 1.3 that is what is left of the refusal when it comes with the end.
        words += "; if it asks for client certificates, give client_certificate and client_key"
    if is_of_proxy:
        words = f"failed: the proxy {source.remote.proxy_url} {words}"
    return Failure(
        _error(url, unit, words),
        is_passing=not _is_final(error),
        is_absent=isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError),
        is_host_down=not answered and isinstance(error, _NO_ANSWER),
    )


def of_range(url: str, unit: str, what: str) -> Failure:
    """The source was asked for the rest of a file, and sent something else."""
    return Failure(_error(url, unit, f"sent another part of the file: {what}"), is_passing=True)


def out_of_time(url: str, unit: str, seconds: float) -> Failure:
    """All tries together took too long."""
    return Failure(_error(url, unit, f"took longer than total_timeout_seconds, {seconds:g} s"))


def retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, as number or date; None if it does not say.

    RFC 9110 10.2.3. Nobody is told more than a day.
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        seconds = float(text)
    else:
        try:
            when = email.utils.parsedate_to_datetime(text)
            # Without a zone it is GMT, as all dates of HTTP.
            seconds = when.replace(tzinfo=when.tzinfo or UTC).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(max(0.0, seconds), _LONGEST_TOLD)


_NO_ANSWER = (aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError, TimeoutError)


def _is_final(error: Exception) -> bool:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return error.os_error.errno in _UNKNOWN_NAME
    return tls.cause_of(error) is not None or (
        isinstance(error, aiohttp.ClientResponseError)
        and not isinstance(error, aiohttp.ClientPayloadError)
    )


def _of_proxy(source: Source, unit: str, status: int, reason: str | None) -> Failure:
    name, proxy = source.remote.full_name, source.remote.proxy_url
    what = f"failed: the proxy {proxy} refuses with {_status_words(status, reason)}"
    if status == _PROXY_UNAUTHORIZED:
        what += f"; give {name} the right proxy_username and proxy_password"
    error = _error(source.url, unit, what)
    error.metadata["http_status"] = str(status)
    return Failure(error, is_passing=status in _PASSING)


def _status_words(status: int, reason: str | None) -> str:
    words = printable(reason or "", _LONGEST_REASON).strip() or _PHRASES.get(status, "")
    return f"{status} {words}".rstrip()


def _words(error: Exception, at: URL) -> str:
    if tls.cause_of(error) is not None:
        return f"failed in TLS with {at.host}: {tls.words(error, at.host or '')}"
    if isinstance(error, aiohttp.ServerTimeoutError | TimeoutError):
        connecting = isinstance(error, aiohttp.ConnectionTimeoutError)
        return "cannot be reached in time" if connecting else "stalled: no byte came in time"
    if isinstance(error, StalledError):
        return f"stalled: less than {LEAST_BYTES} bytes came in time"
    if isinstance(error, aiohttp.ClientPayloadError | BrokenOffError):
        return "broke off before the end of the file"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot be reached: {_os_words(error.os_error)}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "closed the connection without an answer"
    if isinstance(error, aiohttp.ClientResponseError):
        return "answered something that is not HTTP"
    if isinstance(error, OSError):
        return f"broke off: {_os_words(error)}"
    return "broke off"


def _os_words(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "its host name cannot be resolved"
    if error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno)
    return printable(str(error), 200)


def _error(url: str, unit: str, what: str, verb: str = "GET ") -> DownloadFailedError:
    return DownloadFailedError(
        f"{verb}{shown(url)} {what}{_purpose(unit)}.", metadata=_metadata(url, unit)
    )


def _metadata(url: str, unit: str) -> dict[str, str]:
    found = {"url": shown(url), "unit": printable(unit)}
    return {key: value for key, value in found.items() if value}


def _purpose(unit: str) -> str:
    return f" (for the file {printable(unit)})" if unit else ""
