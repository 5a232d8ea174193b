"""A small REST client for tests: requests as they are, and what most tests begin with.

It is not a product: it hides nothing and retries nothing.
"""

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlencode, urlsplit

from polling import until
from upstream import Upstream

PREFIX = "/api/v3/"
TERMINAL = ("completed", "failed", "canceled")

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401, a test says what it expects
        """The body, read as JSON."""
        return json.loads(self.body)

    def expect(self, *statuses: int) -> Any:  # noqa: ANN401, as above
        """The body as JSON, if the status is one of these."""
        assert self.status in statuses, f"{self.status}: {self.body.decode('utf-8', 'replace')}"
        return self.json if self.body else {}


@dataclass(frozen=True)
class ServerEvent:
    """One event of a stream."""

    id: str
    kind: str
    data: Any


class Rest:
    """Talks to one origin, with the token unless told otherwise."""

    def __init__(self, origin: str, token: str = "") -> None:
        self.origin = origin
        self.token = token

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 90,
    ) -> Answer:
        """One request on a connection of its own. A body that is not bytes is sent as JSON."""
        with self.open(method, path, body, query=query, headers=headers, timeout=timeout) as got:
            return Answer(got.status, got.headers, got.read())

    @contextmanager
    def open(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 90,
    ) -> Iterator[HTTPResponse]:
        """The same, for reading the answer bit by bit."""
        all_headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            all_headers["Content-Type"] = "application/json"
        all_headers |= headers or {}
        target = path if path.startswith("/") else PREFIX + path
        if query:
            target += ("&" if "?" in target else "?") + urlencode(query)
        parts = urlsplit(self.origin)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
        try:
            connection.request(method, target, body=body, headers=all_headers)
            response = connection.getresponse()
            try:
                yield response
            finally:
                response.close()
        finally:
            connection.close()

    def get(self, path: str, **query: object) -> Any:  # noqa: ANN401, JSON
        """What is at a path, which must be there."""
        return self.request("GET", path, query=query).expect(200)

    def post(self, path: str, body: object = None, **query: object) -> Answer:
        """What a POST answers."""
        return self.request("POST", path, {} if body is None else body, query=query)

    def patch(self, path: str, body: object) -> Answer:
        """What a PATCH answers."""
        return self.request("PATCH", path, body)

    def delete(self, path: str) -> Answer:
        """What a DELETE answers."""
        return self.request("DELETE", path)

    def everything(self, path: str, **query: object) -> list[Json]:
        """All results of a list, page after page."""
        results: list[Json] = []
        token = ""
        while True:
            page = self.get(path, **({"page_size": 1000} | query | {"page_token": token}))
            results += page["results"]
            token = page["next_page_token"]
            if not token:
                return results

    @contextmanager
    def events(
        self, path: str, last_event_id: str = "", timeout: float = 60
    ) -> Iterator[Iterator[ServerEvent]]:
        """The events of a stream, as they come."""
        headers = {"Accept": "text/event-stream"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        with self.open("GET", path, headers=headers, timeout=timeout) as response:
            assert response.status == 200, response.read()
            assert response.headers["Content-Type"].startswith("text/event-stream")
            yield _read_events(response)


def _read_events(response: HTTPResponse) -> Iterator[ServerEvent]:
    fields: dict[str, str] = {}
    for line in response:
        text = line.decode().rstrip("\r\n")
        if not text and "data" in fields:
            data = json.loads(fields["data"])
            yield ServerEvent(fields.get("id", ""), fields.get("event", "message"), data)
        if not text:
            fields = {}
        elif not text.startswith(":"):
            name, _, value = text.partition(":")
            fields[name] = fields.get(name, "") + value.removeprefix(" ")


class Api(Rest):
    """The API's origin, with what most tests begin with."""

    def a_name(self, prefix: str = "t") -> str:
        """A name nobody has."""
        return f"{prefix}-{secrets.token_hex(6)}"

    def a_repository(self, plugin: str = "file", **fields: object) -> Json:
        """A new repository."""
        body = {"name": self.a_name("repository")} | fields
        return dict(self.post(f"repositories/{plugin}/", body).expect(201))

    def a_remote(self, upstream: Upstream | str, plugin: str = "file", **fields: object) -> Json:
        """A new remote of an upstream's manifest, which tries once more."""
        url = upstream if isinstance(upstream, str) else upstream.manifest_url
        body = {"name": self.a_name("remote"), "url": url, "policy": "immediate"}
        return dict(
            self.post(f"remotes/{plugin}/", {"max_retries": 1} | body | fields).expect(201)
        )

    def a_distribution(
        self, repository: Json | None = None, plugin: str = "file", **fields: object
    ) -> Json:
        """A new distribution, of a repository's latest version if one is given."""
        name = self.a_name("distribution")
        serves = {"repository": repository["name"]} if repository else {}
        body = {"name": name, "base_path": name} | serves | fields
        return dict(self.post(f"distributions/{plugin}/", body).expect(201))

    def a_synced_repository(self, upstream: Upstream, **fields: str) -> Json:
        """A new repository with everything an upstream has."""
        repository = self.a_repository()
        remote = self.a_remote(upstream, **fields)
        self.completed("file/syncs", repository=repository["name"], remote=remote["name"])
        return dict(self.get(repository["href"]))

    def create(self, task_type: str, query: Json | None = None, **parameters: object) -> Json:
        """A new task."""
        answer = self.post(f"tasks/{task_type}/", parameters, **(query or {}))
        return dict(answer.expect(201))

    def run(
        self, task_type: str, query: Json | None = None, wait: float = 120, **parameters: object
    ) -> Json:
        """A new task, at its end."""
        return self.finished(self.create(task_type, query, **parameters), wait)

    def completed(
        self, task_type: str, query: Json | None = None, wait: float = 120, **parameters: object
    ) -> Json:
        """A new task, at its end, which must be a good one."""
        task = self.run(task_type, query, wait, **parameters)
        assert task["state"] == "completed", task
        return task

    def finished(self, task: Json, wait: float = 120) -> Json:
        """The task, at its end."""
        return until(
            lambda: self._terminal(self.get(task["href"], wait=f"{max(1, min(wait, 30)):.0f}s")),
            f"the end of {task['name']}",
            wait,
        )

    def in_state(self, task: Json, state: str, wait: float = 60) -> Json:
        """The task, once it is in this state."""
        return until(
            lambda: (found := self.get(task["href"]))["state"] == state and found,
            f"{task['name']} to be {state}",
            wait,
        )

    def versions(self, repository: Json) -> list[int]:
        """The numbers of a repository's versions, oldest first."""
        found = self.everything(f"{repository['href']}versions/")
        return sorted(version["number"] for version in found)

    def units(
        self, repository: Json, version: int | str = "latest", **query: object
    ) -> list[Json]:
        """The content of a version."""
        return self.everything(f"{repository['href']}versions/{version}/content/", **query)

    def files(self, repository: Json, version: int | str = "latest") -> dict[str, str]:
        """The digest of every file of a version, by path."""
        attributes = (unit["unit"]["attributes"] for unit in self.units(repository, version))
        return {item["relative_path"]: item["sha256"] for item in attributes}

    @staticmethod
    def _terminal(task: Json) -> Json | None:
        return task if task["state"] in TERMINAL else None
