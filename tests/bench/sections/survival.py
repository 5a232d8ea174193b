"""What it costs that a program is killed: time, and what is done twice."""

import os
import signal
import socket
import time
from collections.abc import Iterator

from figure import Figure
from interrupted import CONCURRENCY, interrupted_sync
from polling import until
from rest import Api, Json
from size import Size
from stack import Stack
from target import at_most

__all__ = ["survival"]

_STALL_SECONDS = 600
_PATIENCE_SECONDS = 60


def survival(stack: Stack, size: Size) -> Iterator[Figure]:
    """A dispatcher is killed, and the plugin in a large sync."""
    del stack
    yield _takeover(size)
    yield from _killed_plugin(size)


def _takeover(size: Size) -> Figure:
    figure = Figure("from kill -9 of a dispatcher to the next attempt", "ms", digits=0)
    figure.target = at_most(1000, "ms")
    with Stack(arguments=("--dispatchers", "2")) as own, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        # Whoever asks it for a manifest waits.
        silent.listen(100)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/PULP_MANIFEST"
        remote = own.api.a_remote(url, stall_timeout_seconds=_STALL_SECONDS)
        for _ in range(size.kills):
            figure.samples.append(1000 * _seconds_to_take_over(own.api, remote))
    return figure


def _seconds_to_take_over(api: Api, remote: Json) -> float:
    until(lambda: len(_dispatchers(api)) == 2, "two dispatchers", _PATIENCE_SECONDS)
    names = {"repository": api.a_repository()["name"], "remote": remote["name"]}
    task = dict(api.request("POST", "tasks/file/syncs/", names).expect(201))
    pid = until(lambda: _runner(api), "the attempt", _PATIENCE_SECONDS)
    killed_at = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    until(lambda: _is_repeated(api, task), "the next attempt", _PATIENCE_SECONDS)
    seconds = time.perf_counter() - killed_at
    api.request("PATCH", task["href"], {"state": "canceled"}).expect(200)
    until(lambda: api.get(task["href"])["state"] == "canceled", "its end", _PATIENCE_SECONDS)
    return seconds


def _dispatchers(api: Api) -> list[Json]:
    return list(api.get("status/")["dispatchers"])


def _runner(api: Api) -> int | None:
    """The process that runs the only attempt; None if none does yet."""
    running = [one for one in _dispatchers(api) if one.get("running_attempts")]
    return int(running[0]["name"].rpartition(":")[2]) if running else None


def _is_repeated(api: Api, task: Json) -> bool:
    found = api.get(task["href"])
    return bool(found["attempt"] == 2 and found["state"] == "running")


def _killed_plugin(size: Size) -> Iterator[Figure]:
    sync = interrupted_sync(size.interrupted)
    assert (sync.state, sync.attempts, sync.units) == ("completed", 3, size.interrupted), sync
    what = f"sync of {size.interrupted:,} files of 1 KiB, its plugin killed twice"
    yield Figure(what, "s", [sync.seconds])
    again = Figure("  asked for twice, as it was under way", "files", [sync.again], digits=0)
    again.target = at_most(2 * CONCURRENCY, "files")
    yield again
