"""What is measured, section by section. Each takes a running stack and yields figures."""

import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import floor
from figure import Figure, timed
from load import requests_per_second
from process import proportional_bytes
from rest import Api, Json, Rest
from separate import bare_app, separate_upstream
from stack import ROLES, Stack
from upstream import Upstream

# What a remote has unless it says otherwise; the floor gets the same.
CONCURRENCY = 10
KIB, MIB = 1024, 1024 * 1024


@dataclass(frozen=True)
class Size:
    """How much of everything; smaller for a look whether the bench works."""

    files: int = 5_000
    many: int = 100_000
    few: int = 100
    repeats: int = 3
    tasks: int = 100
    repositories: int = 100
    seconds: float = 4


QUICK = Size(files=300, many=2_000, few=100, repeats=1, tasks=10, repositories=10, seconds=1)


def sync(stack: Stack, size: Size) -> Iterator[Figure]:
    """Syncs: first, unchanged, and with 1 % changed, each beside a bare loop."""
    api = stack.api
    first = Figure(f"sync of {size.files:,} files of 1 KiB", "s", digits=2)
    first.floor_is = "download, hash, write with aiohttp"
    unchanged = Figure("the same again, unchanged", "ms")
    unchanged.floor_is = "one conditional request"
    changed = Figure("the same again, 1 % changed", "ms")
    changed.floor_is = "the manifest and the changed files with aiohttp"
    for _ in range(size.repeats):
        with separate_upstream(size.files) as upstream, _folder(stack) as folder:
            repository = api.a_repository()
            remote = api.a_remote(upstream.manifest_url, max_concurrency=CONCURRENCY)
            names = {"repository": repository["name"], "remote": remote["name"]}

            run = partial(_completed, api, "file/syncs", names | {"mirror": True})
            bare = partial(floor.download, upstream.manifest_url, folder, CONCURRENCY)
            _pair(first, run, bare)
            ask = partial(floor.ask, upstream.manifest_url, _etag(upstream.manifest_url))
            for _ in range(5):
                _pair(unchanged, run, ask, 1000)
            for _ in range(3):
                upstream.change(size.files // 100)
                _pair(changed, run, bare, 1000)
    yield from (first, unchanged, changed)


def versions(stack: Stack, size: Size) -> Iterator[Figure]:
    """The same small change to a small and to a large repository."""
    api = stack.api
    with Upstream().list_only(10, folder="new") as upstream:
        units = _names_of(api, api.a_synced_repository(upstream, policy="on_demand"))
    few, many = (_listed(stack, count) for count in (size.few, size.many))
    small = Figure(f"10 units added to a repository of {size.few:,}", "ms")
    large = Figure(f"10 units added to a repository of {size.many:,}", "ms")
    large.floor_is = f"the same to the one of {size.few:,}"
    for _ in range(5 * size.repeats):
        for figure, repository in ((small, few), (large, many)):
            body = {"repository": repository["name"], "content": units}
            add = partial(_completed, api, "file/adds", body)
            figure.samples.append(1000 * timed(add))
            _completed(api, "file/removes", body)
    large.floor = small.samples
    yield from (small, large)


def tasks(stack: Stack, size: Size) -> Iterator[Figure]:
    """How long the smallest task takes, and how many get done."""
    api = stack.api
    count = max(size.tasks, size.repositories)
    with Upstream().list_only(count, folder="task") as upstream:
        units = _names_of(api, api.a_synced_repository(upstream, policy="on_demand"))
    repository = api.a_repository()
    median = Figure("POST of an add of one unit, to `completed`", "ms")
    median.floor_is = "GET of a task"
    task: Json = {}
    for unit in units[: size.tasks]:
        body = {"repository": repository["name"], "content": [unit]}
        start = time.perf_counter()
        task = _completed(api, "file/adds", body)
        median.samples.append(1000 * (time.perf_counter() - start))
        median.floor.append(1000 * timed(partial(api.get, task["href"])))
    tail = Figure(
        "the same, 99 of 100 are faster", "ms", median.samples, median.floor, quantile=0.99
    )
    yield from (median, tail, _tasks_per_second(api, size, units))


def _tasks_per_second(api: Api, size: Size, units: list[str]) -> Figure:
    figure = Figure(f"adds of one unit over {size.repositories} repositories", "tasks/s", digits=0)
    names = [api.a_repository()["name"] for _ in range(size.repositories)]
    for number in range(size.repeats):
        bodies = [
            {"repository": name, "content": [units[(index + number) % len(units)]]}
            for index, name in enumerate(names)
        ]
        figure.samples.append(len(bodies) / timed(partial(_all_completed, api, bodies)))
    return figure


def _all_completed(api: Api, bodies: list[Json]) -> None:
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda body: api.create("file/adds", **body), bodies))
        ended = list(pool.map(api.finished, created))
    assert {task["state"] for task in ended} == {"completed"}


def content(stack: Stack, size: Size) -> Iterator[Figure]:
    """Files from the content origin, beside an app that does nothing but send them."""
    files = {"small.bin": secrets.token_bytes(KIB), "large.bin": secrets.token_bytes(10 * MIB)}
    with Upstream(files) as upstream:
        base = stack.api.a_distribution(stack.api.a_synced_repository(upstream))["base_path"]
    small = Figure("a file of 1 KiB, 16 connections", "requests/s", digits=0)
    large = Figure("a file of 10 MiB, 16 connections", "MiB/s", digits=0)
    with _folder(stack) as folder:
        for name, data in files.items():
            (folder / name).write_bytes(data)
        with bare_app(folder) as origin:
            for figure, path, factor in ((small, "small.bin", 1), (large, "large.bin", 10)):
                figure.floor_is = "a bare ASGI app on granian"
                for _ in range(size.repeats):
                    ours = f"{stack.content_url}/{base}/{path}"
                    figure.samples.append(factor * requests_per_second(ours, seconds=size.seconds))
                    figure.floor.append(
                        factor * requests_per_second(f"{origin}/{path}", seconds=size.seconds)
                    )
    yield from (small, large)


def memory(stack: Stack, size: Size) -> Iterator[Figure]:
    """Memory of a stack that has nothing to do, by program."""
    del size
    by_role: dict[str, float] = {}
    for process in stack.processes():
        role = _role_of(process.command)
        by_role[role] = by_role.get(role, 0) + proportional_bytes(process.pid) / MIB
    database = by_role.pop("postgres", 0.0)
    yield Figure("idle memory without PostgreSQL (PSS)", "MiB", [sum(by_role.values())], digits=0)
    for role, amount in sorted(by_role.items()):
        yield Figure(f"  {role}", "MiB", [amount], digits=0)
    yield Figure("idle memory of PostgreSQL (PSS)", "MiB", [database], digits=0)


SECTIONS: Mapping[str, Callable[[Stack, Size], Iterator[Figure]]] = {
    # First, while it is idle.
    "memory": memory,
    "sync": sync,
    "versions": versions,
    "tasks": tasks,
    "content": content,
}


def measure(stack: Stack, size: Size, names: Collection[str]) -> list[Figure]:
    """Some sections, in their order."""
    figures: list[Figure] = []
    for name in SECTIONS:
        if name in names:
            print(f"… {name}", file=sys.stderr, flush=True)
            figures += SECTIONS[name](stack, size)
    return figures


def _pair(
    figure: Figure, ours: Callable[[], object], bare: Callable[[], object], factor: float = 1
) -> None:
    figure.floor.append(factor * timed(bare))
    figure.samples.append(factor * timed(ours))


def _completed(api: Api, task_type: str, parameters: Json) -> Json:
    answer = api.request(
        "POST", f"tasks/{task_type}/", parameters, query={"wait": "600s"}, timeout=660
    )
    task = dict(answer.expect(201))
    assert task["state"] == "completed", task
    return task


def _listed(stack: Stack, count: int) -> Json:
    """A repository of so many units of which only the manifest was fetched."""
    api = stack.api
    with separate_upstream(listed=count) as upstream:
        repository = api.a_repository()
        remote = api.a_remote(upstream.manifest_url, policy="on_demand", stall_timeout_seconds=60)
        names = {"repository": repository["name"], "remote": remote["name"]}
        _completed(api, "file/syncs", names)
    return repository


def _names_of(api: Api, repository: Json) -> list[str]:
    return [str(unit["name"]) for unit in islice(api.units(repository), 1000)]


def _role_of(command: tuple[str, ...]) -> str:
    names = {Path(argument).name for argument in command}
    for role, words in ROLES.items():
        if names.issuperset(words):
            return role
    text = " ".join(command)
    if text.startswith("postgres:"):
        return "postgres"
    return "up" if "up" in names else Path(command[0]).name


def _etag(manifest_url: str) -> str:
    answer = Rest(manifest_url).request("GET", "/PULP_MANIFEST")
    return str(answer.headers["ETag"])


@contextmanager
def _folder(stack: Stack) -> Iterator[Path]:
    """A folder on the same file system as the stack's blobs."""
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=stack.home.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
