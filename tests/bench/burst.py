"""Many requests that make something, from clients that keep their connections."""

import json
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import islice
from urllib.parse import urlsplit

from rest import PREFIX, Api, Json

__all__ = ["CLIENTS", "burst", "tasks_per_second"]

CLIENTS = 32
_SECONDS = 600


def tasks_per_second(api: Api, task_type: str, bodies: Sequence[Json]) -> float:
    """How many tasks are completed in a second, when each client waits for its own."""
    start = time.perf_counter()
    ended = burst(api, f"tasks/{task_type}/?wait={_SECONDS}s", bodies)
    seconds = time.perf_counter() - start
    assert [task["state"] for task in ended] == ["completed"] * len(bodies)
    return len(bodies) / seconds


def burst(api: Api, path: str, bodies: Iterable[Json], clients: int = CLIENTS) -> list[Json]:
    """The answers to POSTs, of which each client makes the next when it has its answer."""
    left = iter(bodies)
    lock = threading.Lock()

    def client(_number: int) -> list[Json]:
        parts = urlsplit(api.origin)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=_SECONDS + 60)
        headers = {"Authorization": f"Bearer {api.token}", "Content-Type": "application/json"}
        answers: list[Json] = []
        while True:
            with lock:
                body = next(islice(left, 1), None)
            if body is None:
                connection.close()
                return answers
            connection.request("POST", PREFIX + path, json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read()
            assert response.status == 201, text
            answers.append(json.loads(text))

    with ThreadPoolExecutor(clients) as pool:
        return [answer for answers in pool.map(client, range(clients)) for answer in answers]
