"""How long the smallest task takes, and how many get done."""

import time
from collections.abc import Iterator
from functools import partial

from burst import burst, tasks_per_second
from figure import Figure, timed
from queue_of_waiting import let_wait
from rest import Api
from setting import completed, names_of
from size import Size
from stack import Stack
from target import at_least, at_least_of_floor, at_most
from upstream import Upstream

__all__ = ["tasks"]


def tasks(stack: Stack, size: Size) -> Iterator[Figure]:
    """How long the smallest task takes, and how many get done."""
    yield from _one_by_one(stack.api, size)
    with Stack(arguments=("--dispatchers", "2")) as busy:
        yield from _bursts(busy, size)
        # What waits there would wait for ever.
        busy.stop()


def _one_by_one(api: Api, size: Size) -> Iterator[Figure]:
    units = _units(api, size.tasks)
    repository = api.a_repository()
    median = Figure("POST of an add of one unit, to `completed`", "ms")
    median.floor_is = "GET of a task"
    median.target = at_most(15, "ms")
    for unit in units[: size.tasks]:
        body = {"repository": repository["name"], "content": [unit]}
        start = time.perf_counter()
        href = str(completed(api, "file/adds", body)["href"])
        median.samples.append(1000 * (time.perf_counter() - start))
        median.floor.append(1000 * timed(partial(api.get, href)))
    tail = Figure(
        "the same, 99 of 100 are faster", "ms", median.samples, median.floor, quantile=0.99
    )
    tail.target = at_most(40, "ms")
    yield from (median, tail)


def _bursts(stack: Stack, size: Size) -> Iterator[Figure]:
    api = stack.api
    units = _units(api, max(size.burst_on_one, 3 * size.repeats))
    names = [
        answer["name"]
        for answer in burst(
            api,
            "repositories/file/",
            [{"name": api.a_name()} for _ in range(size.burst_repositories)],
        )
    ]

    def over_all(number: int) -> float:
        bodies = [{"repository": name, "content": [units[number]]} for name in names]
        return tasks_per_second(api, "file/adds", bodies)

    spread = Figure(f"adds of one unit over {len(names)} repositories", "tasks/s", digits=0)
    spread.target = at_least(250, "tasks/s")
    spread.samples += [over_all(number) for number in range(size.repeats)]
    yield spread

    one = Figure("adds of one unit to one repository", "tasks/s", digits=0)
    one.target = at_least(100, "tasks/s")
    repository = api.a_repository()["name"]
    bodies = [{"repository": repository, "content": [unit]} for unit in units]
    one.samples.append(tasks_per_second(api, "file/adds", bodies[: size.burst_on_one]))
    yield one

    behind = Figure(
        f"over {len(names)} repositories, while {size.waiting:,} wait for one lock",
        "tasks/s",
        digits=0,
    )
    behind.floor_is = "the same while none waits"
    behind.target = at_least_of_floor(0.8)
    behind.floor += [over_all(size.repeats + number) for number in range(size.repeats)]
    let_wait(stack.home, size.waiting)
    behind.samples += [over_all(2 * size.repeats + number) for number in range(size.repeats)]
    yield behind


def _units(api: Api, count: int) -> list[str]:
    with Upstream().list_only(count, folder=api.a_name("task")) as upstream:
        return names_of(api, api.a_synced_repository(upstream, policy="on_demand"))
