"""TLS towards upstreams: whom we trust, as whom we identify, and what went wrong in words."""

from __future__ import annotations

import os
import ssl
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["UnusablePemError", "cause_of", "client_context", "words"]


class UnusablePemError(ValueError):
    """PEM text that is not what its field should have; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def client_context(
    *,
    authorities: str = "",
    with_system: bool = False,
    verify: bool = True,
    certificate: str = "",
    key: str = "",
) -> ssl.SSLContext:
    """What connections are made with. Raises UnusablePemError.

    Args:
        authorities: PEM; without any, those of the system.
        with_system: Trust those of the system besides.
        verify: Whether the other side's certificate is looked at.
        certificate: PEM of our own, with the intermediate ones after it.
        key: PEM of its private key.
    """
    try:
        context = ssl.create_default_context(cadata=authorities or None)
    except (ssl.SSLError, ValueError):
        raise UnusablePemError("ca_certificates", "has no certificate in PEM form.") from None
    if authorities:
        if with_system:
            context.load_default_certs()
        # One rule for all releases of Python: what was given is trusted, be it an intermediate
        # authority or the certificate itself, and old private authorities are not too old.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["http/1.1"])
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate:
        _identify(context, certificate, key)
    return context


def cause_of(error: BaseException) -> ssl.SSLError | None:
    """What TLS itself says in an error of aiohttp's; None if it is about something else."""
    for one in (
        error,
        getattr(error, "certificate_error", None),
        getattr(error, "os_error", None),
        error.__cause__,
    ):
        # aiohttp's own errors are SSLErrors too.
        if isinstance(one, ssl.SSLError) and type(one).__module__ == "ssl":
            return one
    return None


def words(error: Exception, host: str) -> str:
    """What went wrong, and what to do: follows "failed in TLS: "."""
    cause = cause_of(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _verification_words(cause, host)
    text = "" if cause is None else f"{cause.reason or cause}".lower().replace("_", " ")
    if "certificate required" in text or "handshake failure" in text:
        return f"{text}; it may ask for client_certificate and client_key"
    if "alert" in text and ("certificate" in text or "unknown ca" in text):
        return f"it does not take the client certificate ({text})"
    if "wrong version number" in text or "record layer failure" in text:
        return "what answers does not speak TLS; is the URL http, or the port another?"
    return text or "the connection broke off"


def _verification_words(error: ssl.SSLCertVerificationError, host: str) -> str:
    text = error.verify_message or ""
    match error.verify_code:
        case 9:
            return "its certificate is not valid yet; is the clock of this machine right?"
        case 10:
            return "its certificate has expired; whoever runs it must renew it"
        case 62 | 64:
            return f'its certificate is for other names than "{host}"; use one of its names'
        case 18 | 19 | 20 | 21:
            return (
                "its certificate is from an authority that is not trusted; if it is yours, give "
                f"the authority's certificate as ca_certificates ({text})"
            )
        case _:
            return f"its certificate cannot be verified: {text}"


def _identify(context: ssl.SSLContext, certificate: str, key: str) -> None:
    try:
        ssl.create_default_context(cadata=certificate)
    except (ssl.SSLError, ValueError):
        raise UnusablePemError("client_certificate", "has no certificate in PEM form.") from None
    try:
        with _file_of(f"{certificate}\n{key}\n") as path:
            context.load_cert_chain(path, password=_no_passphrase)
    except ssl.SSLError as error:
        what = {
            "KEY_VALUES_MISMATCH": "is not the key of client_certificate.",
            "EE_KEY_TOO_SMALL": "is too short to be safe.",
        }.get(error.reason or "", "has no private key in PEM form.")
        raise UnusablePemError("client_key", what) from None


def _no_passphrase() -> str:
    raise UnusablePemError(
        "client_key", "is encrypted; give it without a passphrase, it is encrypted at rest anyway."
    )


@contextmanager
def _file_of(text: str) -> Iterator[str]:
    """A path that has the text while it is needed: OpenSSL wants a file."""
    if hasattr(os, "memfd_create"):
        # In memory only, and nobody else's to open.
        with os.fdopen(os.memfd_create("identity"), "w") as stream:
            stream.write(text)
            stream.flush()
            yield f"/proc/self/fd/{stream.fileno()}"
    else:
        with tempfile.NamedTemporaryFile("w") as stream:
            stream.write(text)
            stream.flush()
            yield stream.name
