"""The plugin dies twice in a large sync, halfway and at its end; nothing is downloaded twice.

Run by `make test-faults`, with 100,000 files unless it is told otherwise. Downloads that were
under way when the plugin died are broken off, and asked for again: these are counted, and bounded.
"""

import sys
import tempfile
import time
from collections.abc import Sequence

import patience
from separate import SeparateUpstream, separate_upstream
from stack import Stack

FILES = 100_000
BATCH = 1_000
# What a remote has under way at once.
CONCURRENCY = 10
SECONDS = 3600


def main(arguments: Sequence[str]) -> int:
    """Sync, and say how often the upstream was asked; 1 if it was too often."""
    files = int(arguments[0]) if arguments else FILES
    halfway = max(1, files // BATCH // 2)
    with tempfile.TemporaryDirectory() as folder:
        kills = f"plugin.staged=kill*1@{halfway};plugin.before_verdict=kill*1"
        environment = {"ENTREPOT_FAILPOINTS": kills, "ENTREPOT_FAILPOINT_DIR": folder}
        with Stack(environment) as stack, separate_upstream(files) as upstream:
            return sync(stack, upstream, files)


def sync(stack: Stack, upstream: SeparateUpstream, files: int) -> int:
    """Run the sync to its end, and judge it."""
    repository = stack.api.a_repository()
    remote = stack.api.a_remote(upstream.manifest_url, max_concurrency=CONCURRENCY)
    began = time.monotonic()
    names = {"repository": repository["name"], "remote": remote["name"]}
    ended = patience.finished(stack, patience.create(stack, "file/syncs", **names), SECONDS)
    seconds = time.monotonic() - began
    asked, _ = upstream.requests()
    for lost in ended.get("lost_attempts", []):
        print(f"attempt {lost['number']} was lost: {lost['reason']}")
    version = stack.api.get(f"{repository['href']}versions/1/")
    # Each attempt reads the manifest.
    attempts = ended["attempt"]
    again = asked - files - attempts
    print(
        f"{ended['state']} in attempt {attempts}, {version['unit_count']:,} units, {seconds:.0f} s"
    )
    print(
        f"{asked:,} requests, {attempts} of them for the manifest; {again} files asked for again"
    )
    stack.check()
    well = ended["state"] == "completed" and attempts == 3 and version["unit_count"] == files
    return 0 if well and again <= 2 * CONCURRENCY else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
