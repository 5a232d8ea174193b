"""What the environment says about this process. Reads nothing else but the token file."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from entrepot_rpc import setting
from entrepot_rpc.bucket_url import BucketUrl

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCAL = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of one gateway process, in either role."""

    role: str
    host: str
    port: int
    core: str
    blobs_url: str
    # Where blobs were before; empty if they have not moved.
    blobs_previous_url: str
    # What this process itself may ask of core; users bring their own.
    token: str = field(repr=False)
    # How long a pointer is believed while core cannot be asked, in seconds.
    stale_seconds: float = 60.0
    # Where nginx in front has the folder of blobs for itself; empty: files are sent from here.
    accel: str = ""
    workers: int = 1
    # Where metrics are shown; empty: nowhere.
    metrics: str = ""
    metrics_token: str = field(default="", repr=False)

    @classmethod
    def from_environment(
        cls, role: str, workers: int = 1, env: Mapping[str, str] | None = None
    ) -> Config:
        """The settings of a role, `api` or `content`.

        Raises ValueError, which names the variable, if a value cannot be.
        """
        env = os.environ if env is None else env
        home = Path(env.get("ENTREPOT_HOME") or Path.home() / ".local/share/entrepot")
        if role == "api":
            listen = setting.address(env, "ENTREPOT_HTTP", f"{LOCAL}:8080")
            token = setting.token(env, "ENTREPOT_TOKEN") or read_token(home / "token")
        else:
            listen = setting.address(env, "ENTREPOT_CONTENT", f"{LOCAL}:8081")
            token = setting.token(env, "ENTREPOT_CONTENT_TOKEN") or read_token(
                home / "content-token"
            )
        host, port = parse_address(listen)
        metrics, metrics_token = setting.metrics(env)
        return cls(
            role=role,
            host=host,
            port=port,
            core=env.get("ENTREPOT_GRPC") or f"{LOCAL}:50051",
            blobs_url=_store(env, "ENTREPOT_BLOBS_URL") or str(home / "blobs"),
            blobs_previous_url=_store(env, "ENTREPOT_BLOBS_PREVIOUS_URL"),
            token=token,
            stale_seconds=setting.seconds(env, "ENTREPOT_CONTENT_STALE_SECONDS", 60),
            accel=parse_accel(env.get("ENTREPOT_CONTENT_ACCEL") or ""),
            workers=workers,
            metrics=metrics,
            metrics_token=metrics_token,
        )

    def redacted(self) -> dict[str, str]:
        """What may be printed."""
        return {
            item.name: str(getattr(self, item.name))
            if item.repr
            else ("set" if getattr(self, item.name) else "not set")
            for item in fields(self)
        }


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of "127.0.0.1:8080", "[::1]:8080" or ":8080", which is every address."""
    host, _, port = text.rpartition(":")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104  asked for by the empty host


def parse_accel(text: str) -> str:
    """The path of nginx's internal location, without a slash at its end; empty: there is none."""
    if text and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+/?", text):
        message = f"ENTREPOT_CONTENT_ACCEL is {text!r}: write a path such as /.entrepot-blobs"
        raise ValueError(message)
    return text.removesuffix("/")


def read_token(path: Path) -> str:
    """The token in a file; empty if there is none."""
    try:
        text = path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
    return setting.require_sendable(text, str(path))


def _store(env: Mapping[str, str], name: str) -> str:
    """The address of a store, which has no secret in it, so that it can be printed."""
    return BucketUrl.check(env.get(name, ""), name)
