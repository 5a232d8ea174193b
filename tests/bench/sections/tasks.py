"""How long the smallest task takes, and how many get done."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from figure import Figure, timed
from rest import Api, Json
from setting import completed, names_of
from size import Size
from stack import Stack
from upstream import Upstream

__all__ = ["tasks"]


def tasks(stack: Stack, size: Size) -> Iterator[Figure]:
    """How long the smallest task takes, and how many get done."""
    api = stack.api
    count = max(size.tasks, size.repositories)
    with Upstream().list_only(count, folder="task") as upstream:
        units = names_of(api, api.a_synced_repository(upstream, policy="on_demand"))
    repository = api.a_repository()
    median = Figure("POST of an add of one unit, to `completed`", "ms")
    median.floor_is = "GET of a task"
    task: Json = {}
    for unit in units[: size.tasks]:
        body = {"repository": repository["name"], "content": [unit]}
        start = time.perf_counter()
        task = completed(api, "file/adds", body)
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
