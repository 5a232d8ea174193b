"""Files from the content origin, beside an app that only sends them; and behind nginx."""

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from addresses import free_addresses
from figure import Figure
from load import requests_per_second
from nginx import is_installed
from process import cpu_seconds
from proxied import proxied
from separate import bare_app
from served import a_file, store
from setting import folder_beside
from size import KIB, MIB, Size
from stack import ROLES, Stack
from target import at_least_of_floor, at_most_times_floor
from upstream import Upstream

__all__ = ["content"]

SMALL, LARGE = "small.bin", "large.bin"


def content(stack: Stack, size: Size) -> Iterator[Figure]:
    """Files from the content origin, beside an app that does nothing but send them."""
    files = {SMALL: secrets.token_bytes(KIB), LARGE: secrets.token_bytes(10 * MIB)}
    with Upstream(files) as upstream:
        base = stack.api.a_distribution(stack.api.a_synced_repository(upstream))["base_path"]
    ours = f"{stack.content_url}/{base}"
    with folder_beside(stack) as folder:
        for name, data in files.items():
            (folder / name).write_bytes(data)
        with bare_app(folder) as (origin, pid):
            yield from _beside_bare(size, ours, _gateway(stack), origin, pid)
        if is_installed():
            yield _behind_nginx(size, folder, files[LARGE])
        else:
            print("nginx is not installed: nothing is measured behind it", file=sys.stderr)


def _beside_bare(
    size: Size, ours: str, gateway: int, bare: str, bare_pid: int
) -> Iterator[Figure]:
    small = Figure("a file of 1 KiB, 16 connections", "requests/s", digits=0)
    large = Figure("a file of 10 MiB, 16 connections", "MiB/s", digits=0)
    absent = Figure("a path that has nothing, 16 connections", "requests/s", digits=0)
    elsewhere = Figure("a path of no distribution, 16 connections", "requests/s", digits=0)
    # What it costs does not depend on what else the machine does, or not as much.
    small_cost = Figure("computing for a file of 1 KiB", "µs")
    absent_cost = Figure("computing for a path that has nothing", "µs")
    large_cost = Figure("computing for 1 MiB of a file of 10 MiB", "µs")
    small.target, large.target = at_least_of_floor(0.6), at_least_of_floor(0.9)
    absent_cost.target = at_most_times_floor(1)
    for figure in (small, large, small_cost, large_cost):
        figure.floor_is = "a bare ASGI app on granian"
    for figure in (absent, elsewhere, absent_cost):
        figure.floor_is = "the file of 1 KiB"
    nowhere = f"{ours.rpartition('/')[0]}/none/none.bin"
    # In turns, so that what else the machine does falls on all of them.
    for seconds in _turns(size):
        for pid, origin, rates, costs in (
            (gateway, ours, small.samples, small_cost.samples),
            (bare_pid, bare, small.floor, small_cost.floor),
        ):
            with _computing(pid, seconds, rates, costs):
                rates.append(requests_per_second(f"{origin}/{SMALL}", seconds=seconds))
        with _computing(gateway, seconds, absent.samples, absent_cost.samples):
            url = f"{ours}/none.bin"
            absent.samples.append(requests_per_second(url, seconds=seconds, status=404))
        elsewhere.samples.append(requests_per_second(nowhere, seconds=seconds, status=404))
        for pid, origin, rates, costs in (
            (gateway, ours, large.samples, large_cost.samples),
            (bare_pid, bare, large.floor, large_cost.floor),
        ):
            with _computing(pid, seconds, rates, costs):
                rates.append(_megabytes(f"{origin}/{LARGE}", seconds))
    absent.floor = elsewhere.floor = small.samples
    absent_cost.floor = small_cost.samples
    yield from (small, absent, elsewhere, large, small_cost, absent_cost, large_cost)


@contextmanager
def _computing(pid: int, seconds: float, rates: list[float], costs: list[float]) -> Iterator[None]:
    """Add what each unit of the rate that is measured inside costs a process, in µs."""
    before = cpu_seconds(pid)
    yield
    costs.append(1e6 * (cpu_seconds(pid) - before) / (rates[-1] * seconds))


def _behind_nginx(size: Size, folder: Path, data: bytes) -> Figure:
    """The gateway says which file; core is made up, as it is not asked again for a known file."""
    figure = Figure("a file of 10 MiB behind nginx, 16 connections", "MiB/s", digits=0)
    figure.floor_is, figure.target = "nginx alone", at_least_of_floor(0.9)
    (plain,) = free_addresses(1)
    more = f"server {{ listen {plain}; sendfile on; tcp_nopush on; root {folder}; }}"
    sha256 = store(folder, data)
    with proxied(folder, more) as front:
        front.files[LARGE] = a_file(sha256=sha256, size_bytes=len(data))
        for seconds in _turns(size):
            figure.samples.append(_megabytes(f"{front.nginx.content_url}/dev/{LARGE}", seconds))
            figure.floor.append(_megabytes(f"http://{plain}/{LARGE}", seconds))
    return figure


def _turns(size: Size) -> list[float]:
    return [max(1, size.seconds / 4)] * (3 * size.repeats)


def _megabytes(url: str, seconds: float) -> float:
    return 10 * requests_per_second(url, seconds=seconds)


def _gateway(stack: Stack) -> int:
    words = set(ROLES["content"])
    return next(
        process.pid
        for process in stack.processes()
        if words <= {Path(argument).name for argument in process.command}
    )
