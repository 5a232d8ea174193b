"""Certificates of an authority that nobody knows, for servers and clients on loopback."""

import ssl
from datetime import UTC, datetime
from functools import cache

import trustme


class Authority:
    """One authority."""

    def __init__(self) -> None:
        self._authority = trustme.CA(key_type=trustme.KeyType.ECDSA)

    @property
    def pem(self) -> str:
        """Its own certificate."""
        return self._authority.cert_pem.bytes().decode()

    def server(
        self,
        *,
        name: str = "127.0.0.1",
        has_expired: bool = False,
        clients: "Authority | None" = None,
    ) -> ssl.SSLContext:
        """What a server speaks TLS with; with `clients` it asks those for certificates.

        It does not insist: what clients show, and do not, is for the test to say.
        """
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        end = datetime(2020, 1, 1, tzinfo=UTC) if has_expired else None
        leaf = self._authority.issue_cert(name, "localhost", not_after=end)
        leaf.configure_cert(context)
        if clients is not None:
            context.verify_mode = ssl.CERT_OPTIONAL
            context.load_verify_locations(cadata=clients.pem)
        return context

    def client(self) -> tuple[str, str]:
        """A certificate and its key, as PEM."""
        leaf = self._authority.issue_cert("client@example.test")
        chain = b"".join(pem.bytes() for pem in leaf.cert_chain_pems)
        return chain.decode(), leaf.private_key_pem.bytes().decode()


@cache
def authority() -> Authority:
    """The one that most tests use: making one takes a while."""
    return Authority()


@cache
def other_authority() -> Authority:
    """Another."""
    return Authority()
