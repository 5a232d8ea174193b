"""A running Pulp 3, the peer: its REST API, asked with the session of a user."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterable
from http.client import HTTPConnection, HTTPResponse
from itertools import islice
from urllib.parse import urlencode, urlsplit

from rest import Json

__all__ = ["Pulp"]

_PREFIX = "/pulp/api/v3/"
_LOGIN = "/auth/login/"
_SECONDS = 600
_TOKEN = re.compile(r'csrfmiddlewaretoken" value="([^"]+)"')


class Pulp:
    """Talks to one Pulp. Each thread keeps a connection of its own.

    A session, because Pulp checks a password slowly on purpose, and would with every request.
    """

    def __init__(self, origin: str, user: str, password: str) -> None:
        self._origin = origin.rstrip("/")
        self._local = threading.local()
        self._cookies: dict[str, str] = {}
        form, text = self._send("GET", _LOGIN)
        self._remember(form)
        found = _TOKEN.search(text.decode())
        assert found, f"{self._origin}{_LOGIN} has no form to log in with"
        fields = {
            "username": user,
            "password": password,
            "csrfmiddlewaretoken": found[1],
            "next": f"{_PREFIX}status/",
        }
        answer, _ = self._send(
            "POST", _LOGIN, urlencode(fields).encode(), "application/x-www-form-urlencoded"
        )
        self._remember(answer)
        assert "sessionid" in self._cookies, f"{self._origin} does not let {user} in"

    def get(self, path: str, **query: object) -> Json:
        """What is at a path, or below the API."""
        return self._json("GET", path + (f"?{urlencode(query)}" if query else ""))

    def post(self, path: str, body: Json) -> Json:
        """What a POST answers."""
        return self._json("POST", path, body)

    def completed(self, path: str, body: Json, every: float = 0.02) -> Json:
        """Have a task done, looking for its end as often as told, in seconds; and return it."""
        href = self.post(path, body)["task"]
        task = self._until(lambda: self.get(href), every)
        assert task["state"] == "completed", task
        return task

    def a_repository(self, name: str) -> str:
        """A new repository's href."""
        return str(self.post("repositories/file/file/", {"name": name})["pulp_href"])

    def units(self, repository: str, manifest_url: str, count: int) -> list[str]:
        """The hrefs of units which are in a manifest, and in the repository from now on."""
        remote = {"name": repository, "url": manifest_url, "policy": "on_demand"}
        remote_href = self.post("remotes/file/file/", remote)["pulp_href"]
        self.completed(f"{repository}sync/", {"remote": remote_href})
        version = self.get(repository)["latest_version_href"]
        page = self.get("content/file/files/", repository_version=version, limit=count)
        return [str(unit["pulp_href"]) for unit in islice(page["results"], count)]

    def drain(self, hrefs: Iterable[str]) -> None:
        """Return when all of these tasks are over. Raises AssertionError if one failed."""
        self._until(
            lambda: self.get("tasks/", state__in="waiting,running", limit=1, fields="pulp_href"),
            0.25,
            lambda page: not page["count"],
        )
        for href in hrefs:
            assert self.get(href)["state"] == "completed", href

    def _until(
        self,
        look: Callable[[], Json],
        every: float,
        is_over: Callable[[Json], bool] = lambda task: (
            task["state"] not in ("waiting", "running", "canceling")
        ),
    ) -> Json:
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            seen = look()
            if is_over(seen):
                return seen
            # It has nothing that could be waited on.
            time.sleep(every)
        raise AssertionError(f"Pulp has not ended its tasks in {_SECONDS} s")

    def _json(self, method: str, path: str, body: Json | None = None) -> Json:
        target = path if path.startswith("/") else _PREFIX + path
        data = None if body is None else json.dumps(body).encode()
        answer, text = self._send(method, target, data, "application/json")
        assert answer.status < 300, f"{method} {target}: {answer.status} {text.decode()[:500]}"
        return dict(json.loads(text))

    def _send(
        self, method: str, target: str, data: bytes | None = None, kind: str = ""
    ) -> tuple[HTTPResponse, bytes]:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            parts = urlsplit(self._origin)
            connection = HTTPConnection(parts.hostname or "", parts.port, timeout=_SECONDS)
            self._local.connection = connection
        headers = {"Referer": self._origin + _LOGIN}
        if data is not None:
            headers["Content-Type"] = kind
        if self._cookies:
            headers["Cookie"] = "; ".join(f"{k}={v}" for k, v in self._cookies.items())
            headers["X-CSRFToken"] = self._cookies.get("csrftoken", "")
        connection.request(method, target, body=data, headers=headers)
        response = connection.getresponse()
        return response, response.read()

    def _remember(self, response: HTTPResponse) -> None:
        for line in response.headers.get_all("Set-Cookie") or ():
            name, _, value = line.partition(";")[0].partition("=")
            self._cookies[name] = value
