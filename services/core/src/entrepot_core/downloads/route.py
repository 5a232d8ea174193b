"""The way to a URL of a remote: as whom we ask, whom we trust, and through which proxy.

What a remote says about identity holds for its own host alone, which is the scheme, host and port
of its URL. Whoever an upstream names besides gets none of it.
"""

from __future__ import annotations

import asyncio
import socket
from base64 import b64encode
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
from yarl import URL

from entrepot_core.downloads.address import ForbiddenAddress
from entrepot_core.downloads.tls import client_context

if TYPE_CHECKING:
    import ssl

    from entrepot_core.downloads.address import AddressPolicy
    from entrepot_core.downloads.remote import Remote

__all__ = ["Routes", "is_own"]

log = structlog.get_logger()

_MOST_KNOWN = 1_000
_BELIEVED_SECONDS = 30.0


class _Trust(NamedTuple):
    """The contexts for a remote's own host and for all others; None: the usual one."""

    remote: Remote
    own: ssl.SSLContext | None
    others: ssl.SSLContext | None


class Routes:
    """Finds the way. For one event loop.

    Args:
        addresses: Where connections may go.
    """

    def __init__(self, addresses: AddressPolicy) -> None:
        self._addresses = addresses
        self._trust: dict[int, _Trust] = {}
        self._targets: dict[tuple[str, int], tuple[float, bool]] = {}

    async def options(self, remote: Remote, url: URL, *, identify: bool) -> dict[str, Any]:
        """Arguments for a request of aiohttp's session, its header fields among them.

        Args:
            remote: Whose URL it is.
            url: What is asked for.
            identify: Whether it is the remote's own host, and nobody else led there.

        Raises ForbiddenAddress if there is a proxy, and the URL leads to an address that is not
        allowed as far as we can know. Without a proxy that is judged when the connection is made.
        """
        headers = identity(remote) if identify else {}
        options: dict[str, Any] = {"headers": headers}
        if url.scheme == "https":
            trust = self._trust_of(remote)
            context = trust.own if identify else trust.others
            if context is not None:
                options["ssl"] = context
        if remote.proxy_url:
            await self._check_target(url)
            options["proxy"] = URL(remote.proxy_url)
            proof = _proxy_identity(remote)
            if url.scheme == "https":
                # For the proxy alone: what goes through the tunnel has none of it.
                options["proxy_headers"] = proof
            else:
                headers.update(proof)
        return options

    def _trust_of(self, remote: Remote) -> _Trust:
        trust = self._trust.get(remote.remote_id)
        if trust is None or trust.remote is not remote:
            trust = _make_trust(remote)
            if len(self._trust) >= _MOST_KNOWN:
                self._trust.clear()
            self._trust[remote.remote_id] = trust
        return trust

    async def _check_target(self, url: URL) -> None:
        """The proxy connects for us, so the guard of our own connections does not see where to."""
        key = (url.raw_host or "", url.port or 0)
        loop = asyncio.get_running_loop()
        until, allowed = self._targets.get(key, (0.0, False))
        if loop.time() >= until:
            try:
                found = await loop.getaddrinfo(*key, type=socket.SOCK_STREAM)
                allowed = all(self._addresses.allows(str(where[0])) for *_, where in found)
            except OSError:
                # Behind a proxy names may be known to the proxy only.
                allowed = True
            if len(self._targets) >= _MOST_KNOWN:
                self._targets.clear()
            self._targets[key] = (loop.time() + _BELIEVED_SECONDS, allowed)
        if not allowed:
            raise ForbiddenAddress


def is_own(remote: Remote, url: URL) -> bool:
    """Whether a URL is of the remote's own host: same scheme, host and port."""
    return bool(remote.url) and URL(remote.url).origin() == url.origin()


def identity(remote: Remote) -> dict[str, str]:
    """Header fields that say who we are, for the remote's own host."""
    secrets = remote.secrets
    headers = {
        field.removeprefix("headers."): value
        for field, value in secrets.items()
        if field.startswith("headers.")
    }
    if token := secrets.get("token"):
        headers["Authorization"] = f"Bearer {token}"
    elif remote.username:
        headers["Authorization"] = _basic(remote.username, secrets.get("password", ""))
    return headers


def _proxy_identity(remote: Remote) -> dict[str, str]:
    if not remote.proxy_username:
        return {}
    secret = remote.secrets.get("proxy_password", "")
    return {"Proxy-Authorization": _basic(remote.proxy_username, secret)}


def _basic(username: str, password: str) -> str:
    # RFC 7617, with the charset that it recommends.
    return f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"


def _make_trust(remote: Remote) -> _Trust:
    own = others = None
    if remote.ca_certificates or remote.client_certificate or not remote.verify_tls:
        own = client_context(
            authorities=remote.ca_certificates,
            verify=remote.verify_tls,
            certificate=remote.client_certificate,
            key=remote.secrets.get("client_key", ""),
        )
    if remote.ca_certificates:
        others = client_context(authorities=remote.ca_certificates, with_system=True)
    if not remote.verify_tls:
        log.warning("download.tls_unverified", remote=remote.full_name)
    return _Trust(remote, own, others)
