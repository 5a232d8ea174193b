"""The URL of an object store, such as s3://bucket/prefix?region=eu-west-1: what it may say.

Secrets are never in it: it is logged, and shown in the list of processes. They come from the
environment, under the names that the store's own tools use.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BucketUrl"]

# What each kind of store may be told; the values go to it as they are.
_OPTIONS: Mapping[str, frozenset[str]] = {
    "s3": frozenset(
        {
            "checksum_algorithm", "conditional_put", "endpoint", "region", "request_payer",
            "server_side_encryption", "skip_signature", "sse_bucket_key_enabled",
            "sse_kms_key_id", "unsigned_payload", "virtual_hosted_style_request",
        }
    ),
    "gs": frozenset({"base_url", "skip_signature"}),
    "az": frozenset({"account_name", "endpoint", "skip_signature", "use_emulator"}),
    "memory": frozenset(),
}  # fmt: skip
# What any of them may be told, by us.
_COMMON = frozenset({"allow_http", "ca", "redirect", "redirect_seconds", "retries", "scratch"})

_SECRETS: Mapping[str, str] = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN",
    "gs": "GOOGLE_SERVICE_ACCOUNT or GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN",
    "memory": "its own variables",
}
_SECRET_WORDS = ("key", "secret", "token", "password", "credential", "sas", "account_key")

# Signed links of S3 live for a week at most; nobody needs one for so long.
_MOST_SECONDS = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class BucketUrl:
    """Where objects are, and how they are reached."""

    url: str
    scheme: str
    # As obstore names them.
    options: Mapping[str, str] = field(default_factory=dict)
    allow_http: bool = False
    # A file with certificates to trust, in PEM.
    ca: str = ""
    # Clients are sent to a signed link, which works for so many seconds.
    redirect: bool = False
    redirect_seconds: int = 300
    # How often a request is tried again.
    retries: int = 6
    # The folder for bytes that are not verified yet.
    scratch: str = ""

    @classmethod
    def parse(cls, text: str, setting: str) -> BucketUrl | None:
        """What a setting says; None if it is a path or a file: URL.

        Raises:
            ValueError: it cannot mean a store, or has a secret in it. Never quotes the secret.

        """
        if "://" not in text or text.startswith("file://"):
            return None
        parts = urlsplit(text)
        if parts.scheme not in _OPTIONS:
            raise ValueError(
                f'{setting}: "{parts.scheme}" is not a kind of store that is known here. '
                "Write a path, or a URL that begins with file://, s3://, gs:// or az://."
            )
        hint = f"Put secrets into the environment: {_SECRETS[parts.scheme]}."
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        addresses = (parts.netloc, options.get("endpoint", ""), options.get("base_url", ""))
        if any("@" in address for address in addresses):
            raise ValueError(f"{setting}: there is a name or a password before the @. {hint}")
        if parts.fragment:
            raise ValueError(f"{setting}: a # has no meaning here.")
        if parts.scheme != "memory" and not parts.netloc:
            raise ValueError(
                f"{setting}: name the bucket, such as {parts.scheme}://bucket/prefix."
            )
        known = _OPTIONS[parts.scheme] | _COMMON
        for name in options:
            if name in known:
                continue
            if any(word in name.lower() for word in _SECRET_WORDS):
                raise ValueError(f"{setting}: {name} may not be in a URL. {hint}")
            raise ValueError(
                f"{setting}: {name} is not an option of {parts.scheme}://; "
                f"known are {', '.join(sorted(known))}."
            )
        allow_http = _flag(setting, options, "allow_http")
        if not allow_http and any(one.lower().startswith("http://") for one in addresses[1:]):
            raise ValueError(
                f"{setting}: without TLS everybody on the way reads what is stored; "
                "write https://, or add allow_http=true."
            )
        return cls(
            url=f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}",
            scheme=parts.scheme,
            options={name: value for name, value in options.items() if name not in _COMMON},
            allow_http=allow_http,
            ca=options.get("ca", ""),
            redirect=_flag(setting, options, "redirect"),
            redirect_seconds=_number(setting, options, "redirect_seconds", 300, 1, _MOST_SECONDS),
            retries=_number(setting, options, "retries", 6, 0, 20),
            scratch=options.get("scratch", ""),
        )

    @classmethod
    def check(cls, text: str, setting: str) -> str:
        """The text, if it may be a setting: ValueError as from `parse` and `arguments`."""
        url = cls.parse(text, setting)
        if url is not None:
            url.arguments()
        return text

    def arguments(self) -> dict[str, Any]:
        """What to call `obstore.store.from_url` with, besides the URL.

        Raises:
            ValueError: the file with certificates cannot be read.

        """
        if self.scheme == "memory":
            return {}
        client: dict[str, Any] = {
            # A slow client may read a large file for hours; a silent store is given up on.
            "timeout": "24h",
            "read_timeout": "60s",
            "connect_timeout": "10s",
        }
        if self.allow_http:
            client["allow_http"] = True
        if self.ca:
            try:
                client["root_certificate"] = Path(self.ca).read_bytes()
            except OSError as error:
                raise ValueError(f"{self.ca} cannot be read: {error.strerror}.") from None
        retry = {"max_retries": self.retries, "retry_timeout": timedelta(seconds=60)}
        return {"client_options": client, "retry_config": retry, **self.options}


def _flag(setting: str, options: Mapping[str, str], name: str) -> bool:
    value = options.get(name, "false").lower()
    if value not in ("true", "false"):
        raise ValueError(f"{setting}: {name} is true or false.")
    return value == "true"


def _number(
    setting: str, options: Mapping[str, str], name: str, default: int, least: int, most: int
) -> int:
    text = options.get(name, str(default))
    if not text.isascii() or not text.isdecimal() or not least <= int(text[:9]) <= most:
        raise ValueError(f"{setting}: {name} is a number from {least} to {most}.")
    return int(text)
