"""A whole installation whose blobs are objects of S3."""

import subprocess
from urllib.parse import quote

import pytest

from rest import Json
from s3 import KEYS, S3Server
from stack import Stack, StackFactory
from upstream import Upstream


def curl(*arguments: str) -> bytes:
    """What curl, which follows redirects, gets."""
    done = subprocess.run(
        ["curl", "-sfL", *arguments], capture_output=True, check=True, timeout=60
    )
    return done.stdout


def serves(stack: Stack, distribution: Json, upstream: Upstream) -> None:
    """Each file of an upstream comes as it is there, whole and in parts."""
    base = f"{stack.content_url}/{distribution['base_path']}"
    for path, data in upstream.files.items():
        url = f"{base}/{quote(path)}"
        assert curl(url) == data
        assert curl("-r", "10-49", url) == data[10:50]


@pytest.mark.parametrize("redirect", ["false", "true"])
def test_a_sync_to_s3_is_served(
    a_stack: StackFactory, s3: S3Server, upstream: Upstream, redirect: str
) -> None:
    """Synced bytes are objects, and come to clients through the gateway or by a signed link."""
    upstream.files["large.bin"] = bytes(range(256)) * 40_000
    bucket = s3.bucket()
    stack = a_stack(KEYS | {"ENTREPOT_BLOBS_URL": s3.url(bucket, f"redirect={redirect}")})

    repository = stack.api.a_synced_repository(upstream)
    distribution = stack.api.a_distribution(repository)

    serves(stack, distribution, upstream)
    found = {key.rpartition("/")[2] for key in s3.keys(bucket)}
    assert set(stack.api.files(repository).values()) <= found
    assert s3.unfinished(bucket) == 0
    assert not (stack.home / "blobs").exists()
