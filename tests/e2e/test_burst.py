"""One client posts as fast as it can: every request is answered, and others are served meanwhile.

ENTREPOT_BURST_TASKS says how many tasks: 500 by default, 10,000 in the full run.
"""

import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from urllib.parse import urlsplit

from rest import PREFIX, Api
from stack import Stack

TASKS = int(os.environ.get("ENTREPOT_BURST_TASKS", "500"))
CONNECTIONS = 64
# A moment for others, however busy the machine is.
MOMENT_SECONDS = 10


class Burst:
    """Posts tasks of one repository over many connections, and counts what it is answered."""

    def __init__(self, api: Api, path: str, count: int) -> None:
        self._api = api
        self._path = path
        self._left = iter(range(count))
        self._lock = threading.Lock()
        self.names: set[str] = set()
        self.refused: Counter[tuple[int, bool]] = Counter()

    def run(self) -> None:
        """Posts all of them, and returns when each has an answer."""
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for one in [pool.submit(self._client) for _ in range(CONNECTIONS)]:
                one.result()

    def _client(self) -> None:
        parts = urlsplit(self._api.origin)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=120)
        headers = {"Authorization": f"Bearer {self._api.token}"}
        while True:
            with self._lock:
                if next(self._left, None) is None:
                    connection.close()
                    return
            connection.request("POST", PREFIX + self._path, b"{}", headers)
            answer = connection.getresponse()
            body = answer.read()
            with self._lock:
                if answer.status == 201:
                    self.names.add(answer.headers["Location"])
                else:
                    has_advice = "Retry-After" in answer.headers
                    assert answer.status in (429, 503), body
                    self.refused[answer.status, has_advice] += 1


def test_a_burst_of_one_client_loses_nothing(stack: Stack, api: Api) -> None:
    """Each task is accepted, or refused with a time to come again; others are served at once."""
    burst = Burst(api, "tasks/core/orphans/", TASKS)
    secret = api.post("tokens/", {"name": api.a_name("other")}).expect(201)["secret"]
    other = Api(stack.api_url, secret)
    longest = 0.0

    flood = threading.Thread(target=burst.run)
    flood.start()
    while flood.is_alive():
        began = time.monotonic()
        repository = other.a_repository()
        assert other.get(repository["href"])["name"] == repository["name"]
        assert other.get("status/")["version"]
        longest = max(longest, time.monotonic() - began)
    flood.join()

    assert longest < MOMENT_SECONDS
    assert len(burst.names) + burst.refused.total() == TASKS
    assert all(has_advice for _, has_advice in burst.refused)
    stored = api.everything("tasks/core/orphans/")
    assert burst.names <= {one["href"] for one in stored}
    # Nobody waits for these; each is one look at everything.
    for name in burst.names:
        api.patch(name, {"state": "canceled"})
    assert other.finished(other.create("core/orphans"), 120)["state"] == "completed"
