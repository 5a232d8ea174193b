"""Syncs: first, unchanged, and with 1 % changed, each beside a bare loop."""

from collections.abc import Iterator
from functools import partial

import floor
from figure import Figure
from rest import Rest
from separate import separate_upstream
from setting import completed, folder_beside, pair
from size import Size
from stack import Stack
from target import at_most_times_floor

__all__ = ["sync"]

# What a remote has unless it says otherwise; the floor gets the same.
CONCURRENCY = 10


def sync(stack: Stack, size: Size) -> Iterator[Figure]:
    """Syncs of small files, each beside a bare loop."""
    api = stack.api
    first = Figure(f"sync of {size.files:,} files of 1 KiB", "s", digits=2)
    first.floor_is = "download, hash, write with aiohttp"
    first.target = at_most_times_floor(2)
    unchanged = Figure("the same again, unchanged", "ms")
    unchanged.floor_is = "one conditional request"
    changed = Figure("the same again, 1 % changed", "ms")
    changed.floor_is = "the manifest and the changed files with aiohttp"
    for _ in range(size.repeats):
        with separate_upstream(size.files) as upstream, folder_beside(stack) as folder:
            repository = api.a_repository()
            remote = api.a_remote(upstream.manifest_url, max_concurrency=CONCURRENCY)
            names = {"repository": repository["name"], "remote": remote["name"]}

            run = partial(completed, api, "file/syncs", names | {"mirror": True})
            bare = partial(floor.download, upstream.manifest_url, folder, CONCURRENCY)
            pair(first, run, bare)
            ask = partial(floor.ask, upstream.manifest_url, _etag(upstream.manifest_url))
            for _ in range(5):
                pair(unchanged, run, ask, 1000)
            for _ in range(3):
                upstream.change(size.files // 100)
                pair(changed, run, bare, 1000)
    yield from (first, unchanged, changed)


def _etag(manifest_url: str) -> str:
    answer = Rest(manifest_url).request("GET", "/PULP_MANIFEST")
    return str(answer.headers["ETag"])
