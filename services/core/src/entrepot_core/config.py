"""Core's settings: one frozen object per process, from the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from entrepot_core.domain.retention import Retention
from entrepot_core.domain.task import AGEING_SECONDS
from entrepot_core.downloads.address import parse_networks
from entrepot_core.downloads.gate import HOST_CONNECTIONS

if TYPE_CHECKING:
    from entrepot_core.downloads.address import Network

from entrepot_rpc import setting
from entrepot_rpc.bucket_url import BucketUrl

__all__ = ["GRPC", "Config"]

_MAX_DAYS = 36_500.0
GRPC = "127.0.0.1:50051"
_MAX_COUNT = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Config:
    """Every setting of core, with its default. Fields whose name ends in `_token` are secret."""

    home: Path
    grpc: str
    database_url: str
    blobs_url: str
    # Where blobs were before; empty if they have not moved.
    blobs_previous_url: str
    # Where the key is, with which the secrets of remotes are encrypted.
    secret_key_file: Path
    content_url: str
    api_token: str
    content_token: str
    dispatcher_slots: int
    heartbeat_timeout_seconds: float
    # After this long a task that is ready competes one class higher.
    ageing_seconds: float
    allow_loopback_upstreams: bool
    refused_networks: tuple[Network, ...]
    host_connections: int
    # For how many days what is over is kept.
    retention: Retention
    # Where metrics are shown; empty: nowhere.
    metrics: str = ""
    metrics_token: str = ""

    @property
    def blobs(self) -> tuple[str, Path, str]:
        """What the store for blobs is opened with: its URL, a folder, and the URL before."""
        return self.blobs_url, self.home / "scratch", self.blobs_previous_url

    @classmethod
    def from_environment(cls, environment: dict[str, str] | None = None) -> Config:
        """Reads the ENTREPOT_ variables that docs/reference/settings.md lists.

        Raises ValueError, which names the variable, if a value cannot be.
        """
        env = dict(os.environ if environment is None else environment)
        home = Path(env.get("ENTREPOT_HOME") or Path.home() / ".local/share/entrepot")
        # Where core is found, for a process elsewhere; only the api process listens there.
        grpc = env.get("ENTREPOT_GRPC") or GRPC
        content = setting.address(env, "ENTREPOT_CONTENT", "127.0.0.1:8081")
        http = setting.address(env, "ENTREPOT_HTTP", "127.0.0.1:8080")
        loopback = all(map(setting.is_private, (grpc, http, content)))
        metrics, metrics_token = setting.metrics(env)
        return cls(
            home=home,
            grpc=grpc,
            database_url=_database(env, "ENTREPOT_DATABASE_URL"),
            blobs_url=_store(env, "ENTREPOT_BLOBS_URL") or str(home / "blobs"),
            blobs_previous_url=_store(env, "ENTREPOT_BLOBS_PREVIOUS_URL"),
            secret_key_file=Path(env.get("ENTREPOT_SECRET_KEY_FILE") or home / "secret-key"),
            content_url=setting.url(env, "ENTREPOT_CONTENT_URL", f"http://{content}"),
            api_token=setting.token(env, "ENTREPOT_TOKEN") or _kept_token(home / "token"),
            content_token=setting.token(env, "ENTREPOT_CONTENT_TOKEN"),
            dispatcher_slots=_count(env, "ENTREPOT_DISPATCHER_SLOTS", 16),
            # Fractions are for tests.
            heartbeat_timeout_seconds=setting.seconds(
                env, "ENTREPOT_HEARTBEAT_TIMEOUT", 60, least=0.001
            ),
            ageing_seconds=_seconds(env, "ENTREPOT_AGEING_SECONDS", AGEING_SECONDS),
            # A stack that only serves this machine may also mirror from it; others must say so.
            allow_loopback_upstreams=setting.flag(
                env, "ENTREPOT_ALLOW_LOOPBACK_UPSTREAMS", default=loopback
            ),
            refused_networks=_networks(env, "ENTREPOT_REFUSED_NETWORKS"),
            host_connections=_count(env, "ENTREPOT_HOST_CONNECTIONS", HOST_CONNECTIONS),
            retention=Retention(
                completed_days=_days(env, "ENTREPOT_RETAIN_COMPLETED_DAYS"),
                failed_days=_days(env, "ENTREPOT_RETAIN_FAILED_DAYS"),
                canceled_days=_days(env, "ENTREPOT_RETAIN_CANCELED_DAYS"),
                events_days=_days(env, "ENTREPOT_RETAIN_EVENTS_DAYS"),
            ),
            metrics=metrics,
            metrics_token=metrics_token,
        )

    def __repr__(self) -> str:
        """The settings without secrets, as they are printed at start."""
        shown = (
            f"{f.name}={'[set]' if getattr(self, f.name) else '[unset]'}"
            if f.name.endswith("_token") or f.name == "database_url"
            else f"{f.name}={getattr(self, f.name)}"
            for f in fields(self)
        )
        return f"Config({', '.join(shown)})"


def _networks(env: dict[str, str], name: str) -> tuple[Network, ...]:
    try:
        return parse_networks(env.get(name, ""))
    except ValueError as error:
        raise ValueError(f"{name}: {error}.") from None


def _store(env: dict[str, str], name: str) -> str:
    """The address of a store, which has no secret in it, so that it can be logged."""
    return BucketUrl.check(env.get(name, ""), name)


def _seconds(env: dict[str, str], name: str, default: float) -> float:
    return float(_count(env, name, int(default)))


def _kept_token(path: Path) -> str:
    """The token that the first start has made; empty if there is none."""
    text = path.read_text("utf-8", "replace").strip() if path.is_file() else ""
    return setting.require_sendable(text, str(path))


def _database(env: dict[str, str], name: str) -> str:
    """The address of the database. It may have a password in it, so it is not shown."""
    url = env.get(name, "")
    is_url = url.startswith(("postgresql://", "postgres://"))
    if url and not is_url and ("://" in url or "=" not in url):
        raise ValueError(
            f"{name}: it is not a URL of PostgreSQL: postgresql://user@host/database."
        )
    return url


def _days(env: dict[str, str], name: str) -> float | None:
    """Days, 30 by default; None: for ever."""
    text = env.get(name) or "30"
    if text == "forever":
        return None
    try:
        days = float(text)
    except ValueError:
        days = 0.0
    if not 0 < days <= _MAX_DAYS:
        raise ValueError(f'{name}: "{text}" is neither a number of days above 0 nor "forever".')
    return days


def _count(env: dict[str, str], name: str, default: int) -> int:
    text = env.get(name) or str(default)
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_COUNT))
    if not is_number or not 1 <= int(text) <= _MAX_COUNT:
        raise ValueError(f'{name}: "{text}" is not a number of at least 1.')
    return int(text)
