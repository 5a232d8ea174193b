"""Syncs: first, unchanged, and with 1 % changed, each beside a bare loop."""

import time
from collections.abc import Callable, Iterator
from functools import partial

import floor
from figure import Figure
from process import cpu_seconds
from rest import Json, Rest
from separate import SeparateUpstream, separate_upstream
from setting import completed, folder_beside, pair
from size import Size
from stack import Stack
from target import at_least_of_floor, at_most, at_most_times_floor, floor_and_at_most

__all__ = ["sync"]

# What a remote has unless it says otherwise; the floor gets the same.
CONCURRENCY = 10


def sync(stack: Stack, size: Size) -> Iterator[Figure]:
    """Syncs of small files, of large ones, of none, and of nothing new."""
    yield from _small(stack, size)
    yield _large(stack, size)
    yield _on_demand(stack, size)
    yield _unchanged(stack, size)


def _small(stack: Stack, size: Size) -> Iterator[Figure]:
    first = Figure(f"sync of {size.files:,} files of 1 KiB", "s", digits=2)
    first.floor_is = "download, hash, write with aiohttp"
    first.target = at_most_times_floor(2)
    computing = Figure("  processor time of that, all programs", "s", digits=2)
    computing.floor_is = "processor time of the same loop"
    changed = Figure("the same again, 1 % changed", "ms")
    changed.floor_is = "the manifest and the changed files with aiohttp"
    changed.target = floor_and_at_most(500, "ms")
    for _ in range(size.turns):
        with separate_upstream(size.files) as upstream, folder_beside(stack) as folder:
            run = _sync(stack, upstream)
            bare = partial(floor.download, upstream.manifest_url, folder, CONCURRENCY)
            started = time.process_time()
            pair(first, partial(_count_cpu, computing, stack, run), bare)
            computing.floor.append(time.process_time() - started)
            for _ in range(3):
                upstream.change(size.files // 100)
                pair(changed, run, bare, 1000)
    yield from (first, computing, changed)


def _large(stack: Stack, size: Size) -> Figure:
    figure = Figure(f"sync of {size.large_files:,} files of 1 MiB", "MiB/s", digits=0)
    figure.floor_is = "download, hash, write with aiohttp"
    figure.target = at_least_of_floor(0.8)
    seconds = Figure("", "s")
    with separate_upstream(size.large_files, size=1024 * 1024) as upstream:
        run = _sync(stack, upstream)
        for number in range(size.turns):
            if number:
                upstream.change(size.large_files)
            with folder_beside(stack) as folder:
                bare = partial(floor.download, upstream.manifest_url, folder, CONCURRENCY)
                pair(seconds, run, bare, written=(folder, stack.home / "blobs"))
    figure.samples = [size.large_files / one for one in seconds.samples]
    figure.floor = [size.large_files / one for one in seconds.floor]
    return figure


def _on_demand(stack: Stack, size: Size) -> Figure:
    figure = Figure(f"sync of {size.files:,} files on demand", "s", digits=2)
    figure.floor_is = "the manifest with aiohttp"
    figure.target = at_most(1, "s")
    for _ in range(size.turns):
        with separate_upstream(listed=size.files) as upstream:
            run = _sync(stack, upstream, policy="on_demand")
            pair(figure, run, partial(floor.ask, upstream.manifest_url))
    return figure


def _unchanged(stack: Stack, size: Size) -> Figure:
    figure = Figure(f"sync of {size.unchanged:,} files, unchanged", "ms")
    figure.floor_is = "one conditional request"
    figure.target = at_most(50, "ms")
    with separate_upstream(listed=size.unchanged) as upstream:
        run = _sync(stack, upstream, policy="on_demand")
        run()
        upstream.requests()
        ask = partial(floor.ask, upstream.manifest_url, _etag(upstream.manifest_url))
        upstream.requests()
        for _ in range(10 * size.repeats):
            pair(figure, run, ask, 1000)
            assert upstream.requests() == (2, 2), "one conditional request each"
    return figure


def _sync(
    stack: Stack, upstream: SeparateUpstream, policy: str = "immediate"
) -> Callable[[], Json]:
    """What mirrors an upstream into a new repository, each time it is called."""
    api = stack.api
    remote = api.a_remote(
        upstream.manifest_url,
        policy=policy,
        max_concurrency=CONCURRENCY,
        stall_timeout_seconds=60,
    )
    names = {"repository": api.a_repository()["name"], "remote": remote["name"], "mirror": True}
    return partial(completed, api, "file/syncs", names)


def _count_cpu(figure: Figure, stack: Stack, work: Callable[[], object]) -> None:
    before = sum(cpu_seconds(process.pid) for process in stack.processes())
    work()
    after = sum(cpu_seconds(process.pid) for process in stack.processes())
    figure.samples.append(after - before)


def _etag(manifest_url: str) -> str:
    answer = Rest(manifest_url).request("GET", "/PULP_MANIFEST")
    return str(answer.headers["ETag"])
