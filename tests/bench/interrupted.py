"""A sync whose plugin is killed twice, halfway and at its end."""

import tempfile
import time
from dataclasses import dataclass

import patience
from separate import separate_upstream
from stack import Stack

__all__ = ["CONCURRENCY", "Interrupted", "interrupted_sync"]

BATCH = 1_000
# What a remote has under way at once.
CONCURRENCY = 10
SECONDS = 3600


@dataclass(frozen=True)
class Interrupted:
    """How it went.

    Args:
        state: Of the task.
        attempts: How many there were.
        reasons: Why those before the last were lost.
        units: In the version that it made.
        asked: How often the upstream was asked for anything.
        again: How many files it was asked for once more; those under way are broken off.
        seconds: From the start to the end.
    """

    state: str
    attempts: int
    reasons: tuple[str, ...]
    units: int
    asked: int
    again: int
    seconds: float


def interrupted_sync(files: int) -> Interrupted:
    """Sync so many files in an installation of its own, and have it checked."""
    halfway = max(1, files // BATCH // 2)
    kills = f"plugin.staged=kill*1@{halfway};plugin.before_verdict=kill*1"
    with tempfile.TemporaryDirectory() as folder:
        environment = {"ENTREPOT_FAILPOINTS": kills, "ENTREPOT_FAILPOINT_DIR": folder}
        with Stack(environment) as stack, separate_upstream(files) as upstream:
            repository = stack.api.a_repository()
            remote = stack.api.a_remote(upstream.manifest_url, max_concurrency=CONCURRENCY)
            names = {"repository": repository["name"], "remote": remote["name"]}
            began = time.monotonic()
            task = patience.create(stack, "file/syncs", **names)
            ended = patience.finished(stack, task, SECONDS)
            seconds = time.monotonic() - began
            asked, _ = upstream.requests()
            version = stack.api.get(f"{repository['href']}versions/1/")
            stack.check()
    return Interrupted(
        state=ended["state"],
        attempts=ended["attempt"],
        reasons=tuple(lost["reason"] for lost in ended.get("lost_attempts", [])),
        units=version["unit_count"],
        asked=asked,
        # Each attempt reads the manifest.
        again=asked - files - ended["attempt"],
        seconds=seconds,
    )
