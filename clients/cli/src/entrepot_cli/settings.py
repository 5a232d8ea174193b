"""Where things are and how they are reached, from the environment; the same for every command."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting with its default. What may hold a secret is not shown when it is printed."""

    home: Path
    http: str
    content: str
    content_url: str
    grpc: str
    database_url: str = field(repr=False)
    blobs_url: str
    # Where blobs were before; empty if they have not moved.
    blobs_previous_url: str
    token: str = field(repr=False)
    # Where the first program shows metrics, the others on the ports after it; empty: nowhere.
    metrics: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read ENTREPOT_HOME and the others; an empty variable is like none."""
        env = os.environ if environment is None else environment
        home = Path(env.get("ENTREPOT_HOME") or "~/.local/share/entrepot").expanduser().absolute()
        content = env.get("ENTREPOT_CONTENT") or "127.0.0.1:8081"
        return cls(
            home=home,
            http=env.get("ENTREPOT_HTTP") or "127.0.0.1:8080",
            content=content,
            content_url=(env.get("ENTREPOT_CONTENT_URL") or f"http://{content}").rstrip("/"),
            grpc=env.get("ENTREPOT_GRPC") or "127.0.0.1:50051",
            database_url=env.get("ENTREPOT_DATABASE_URL") or "",
            blobs_url=env.get("ENTREPOT_BLOBS_URL") or str(home / "blobs"),
            blobs_previous_url=env.get("ENTREPOT_BLOBS_PREVIOUS_URL") or "",
            token=env.get("ENTREPOT_TOKEN") or "",
            metrics=env.get("ENTREPOT_METRICS") or "",
        )

    @property
    def token_file(self) -> Path:
        """Where the token is when it is not in the environment."""
        return self.home / "token"

    def read_token(self) -> str:
        """The token to call with, or an empty string if there is none."""
        if self.token:
            return self.token
        try:
            return self.token_file.read_text().strip()
        except FileNotFoundError:
            return ""
