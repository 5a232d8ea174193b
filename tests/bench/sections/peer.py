"""The tasks of a running Pulp 3, if there is one: PULP_ORIGIN and PULP_PASSWORD say where."""

import os
import secrets
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from figure import Figure, timed
from pulp import Pulp
from separate import separate_upstream
from size import Size
from stack import Stack

__all__ = ["peer"]

_CLIENTS = 4


def peer(_stack: Stack, size: Size) -> Iterator[Figure]:
    """What the section `tasks` measures, of Pulp: fewer tasks, as it takes longer."""
    origin = os.environ.get("PULP_ORIGIN")
    if not origin:
        print("PULP_ORIGIN is not set: Pulp is not measured", file=sys.stderr)
        return
    pulp = Pulp(origin, os.environ.get("PULP_USER", "admin"), os.environ["PULP_PASSWORD"])
    mark = secrets.token_hex(4)
    with separate_upstream(listed=size.peer_tasks) as upstream:
        source = pulp.a_repository(f"bench-{mark}")
        units = pulp.units(source, upstream.manifest_url, size.peer_tasks)
    yield from _one_by_one(pulp, mark, units)
    repositories = [pulp.a_repository(f"bench-{mark}-{number}") for number in range(len(units))]
    name = f"Pulp: adds of one unit over {len(repositories)} repositories"
    yield _burst(pulp, name, [(one, units[0]) for one in repositories])
    one = pulp.a_repository(f"bench-{mark}-one")
    yield _burst(pulp, "Pulp: adds of one unit to one repository", [(one, unit) for unit in units])


def _one_by_one(pulp: Pulp, mark: str, units: list[str]) -> Iterator[Figure]:
    repository = pulp.a_repository(f"bench-{mark}-by-turns")
    figure = Figure("Pulp: POST of an add of one unit, to `completed`", "ms")
    for unit in units:
        body = {"add_content_units": [unit]}
        add = partial(pulp.completed, f"{repository}modify/", body)
        figure.samples.append(1000 * timed(add))
    yield figure


def _burst(pulp: Pulp, name: str, adds: list[tuple[str, str]]) -> Figure:
    def add(one: tuple[str, str]) -> str:
        repository, unit = one
        return str(pulp.post(f"{repository}modify/", {"add_content_units": [unit]})["task"])

    start = time.perf_counter()
    with ThreadPoolExecutor(_CLIENTS) as pool:
        hrefs = list(pool.map(add, adds))
    pulp.drain(hrefs)
    figure = Figure(name, "tasks/s", digits=1)
    figure.samples.append(len(adds) / (time.perf_counter() - start))
    return figure
