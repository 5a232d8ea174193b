"""A whole installation whose blobs are objects of S3."""

import shutil
import subprocess
from urllib.parse import quote

from rest import Json
from s3 import KEYS, S3Server
from stack import Stack, StackFactory
from upstream import Upstream


def curl(*arguments: str) -> bytes:
    """What curl gets, which follows redirects, and waits while a gateway still looks for core."""
    done = subprocess.run(
        ["curl", "-sfL", "--retry", "5", *arguments], capture_output=True, check=True, timeout=60
    )
    return done.stdout


def serves(stack: Stack, distribution: Json, upstream: Upstream) -> None:
    """Each file of an upstream comes as it is there, whole and in parts."""
    base = f"{stack.content_url}/{distribution['base_path']}"
    for path, data in upstream.files.items():
        url = f"{base}/{quote(path)}"
        assert curl(url) == data
        assert curl("-r", "10-49", url) == data[10:50]


def test_blobs_move_from_a_folder_to_s3(
    a_stack: StackFactory, s3: S3Server, upstream: Upstream
) -> None:
    """Everything is served before, while and after blobs move; then the folder may go.

    First through the gateway, then by signed links.
    """
    stack = a_stack()
    old = stack.api.a_distribution(stack.api.a_synced_repository(upstream))
    stack.stop()
    bucket, folder = s3.bucket(), stack.home / "blobs"
    stack.extra |= KEYS | {"ENTREPOT_BLOBS_URL": s3.url(bucket)}
    stack.extra["ENTREPOT_BLOBS_PREVIOUS_URL"] = str(folder)
    stack.start()

    serves(stack, old, upstream)
    with Upstream({"large.bin": bytes(range(256)) * 40_000}).fill(3) as other:
        repository = stack.api.a_synced_repository(other)
        new = stack.api.a_distribution(repository)
        serves(stack, new, other)
        found = {key.rpartition("/")[2] for key in s3.keys(bucket)}
        assert set(stack.api.files(repository).values()) <= found
        assert s3.unfinished(bucket) == 0

        plan = stack.api.completed("core/migrations", {"dry_run": True})
        planned = plan["result"]
        moved = stack.api.finished(stack.api.post(f"{plan['href']}commits/").expect(201))
        again = stack.api.completed("core/migrations")
        assert planned == moved["result"]
        assert moved["result"]["blobs"] >= len(upstream.files)
        assert (again["changed"], again["result"]["blobs"]) == (False, 0)

        stack.stop()
        shutil.rmtree(folder)
        del stack.extra["ENTREPOT_BLOBS_PREVIOUS_URL"]
        stack.extra["ENTREPOT_BLOBS_URL"] = s3.url(bucket, "redirect=true")
        stack.start()
        serves(stack, old, upstream)
        serves(stack, new, other)
        forgotten = stack.api.run("core/migrations")
        assert forgotten["error"]["detail"].startswith(
            "ENTREPOT_BLOBS_PREVIOUS_URL: it is not set"
        )
