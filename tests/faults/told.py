"""What clients were told, and when: each fact is a question that the database must say yes to."""

import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from followers import GrpcFollower
from installation import TOKEN, Installation
from rest import TERMINAL, Answer, Api, Json
from work import Client, Tally

Rows = list[tuple[Any, ...]]
Query = Callable[[str, tuple[object, ...]], Rows]


@dataclass
class Fact:
    """It holds from `at`, when a client had the answer, and until its end was asked for."""

    at: float
    subject: str
    words: str
    statement: str
    parameters: tuple[object, ...]
    until: float = math.inf


class Told:
    """All facts of one installation, and when requests were under way that change something."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        # Phase, beginning, end.
        self.spans: list[tuple[str, float, float]] = []
        # When an event was told, its number, task and kind.
        self.events: list[tuple[float, int, str, str]] = []
        # When the first remote with a secret was made.
        self.has_secrets_at = math.inf
        self._states: dict[str, str] = {}
        self._ended: dict[str, float] = {}
        self._guard = threading.Lock()

    def broken(self, query: Query, at: float) -> list[str]:
        """What was told before a moment, and is not so."""
        events = [one[1:] for one in list(self.events) if one[0] < at]
        last = events[-1][0] if events else 0
        kept = query(_EVENTS, (last,))
        odd = [one for one in zip(events, kept, strict=False) if one[0] != one[1]]
        wrong = [f"I11: the event {one} was told, and is {other}" for one, other in odd[:3]]
        if len(kept) < len(events):
            wrong.append(f"I11: {len(events)} events were told, and there are {len(kept)} of them")
        return wrong + [
            f"I1: {fact.words}, said {at - fact.at:.3f} s before the power was cut"
            for fact in list(self.facts)
            if fact.at < at <= fact.until
            and query(f"SELECT ({fact.statement})", fact.parameters) != [(True,)]
        ]

    def files(self, repository: Json, version: int, files: Mapping[str, str], task: Json) -> None:
        """A version that a task made has these files, by path and digest, and has their bytes."""
        at, name = self._ended[task["name"]], repository["name"]
        _, plugin, short = name.split("/")
        where = (plugin, short, version, version, version)
        words = f"version {version} of {name} has {len(files)} files"
        self._add(Fact(at, name, words, _FILES, (json.dumps(files), *where)))
        self._add(
            Fact(at, name, f"{words}, which are stored", _STORED, (sorted(set(files.values())),))
        )

    def asks(self, method: str, path: str, body: object) -> None:
        """Note what a request may put an end to."""
        ends = ""
        if method == "DELETE":
            ends = _name(path)
        elif method == "POST" and path.startswith("tasks/file/uploads/"):
            assert isinstance(body, dict)
            ends = body["upload"]
        now = time.monotonic()
        for fact in list(self.facts):
            if ends and fact.subject == ends:
                fact.until = min(fact.until, now)

    def hears(self, method: str, path: str, answer: Answer, began: float) -> None:
        """Note what a good answer says."""
        at = time.monotonic()
        if method == "PUT" and _name(path).startswith("uploads/"):
            self.spans.append(("p9", began, at))
        if method == "DELETE":
            self._gone(_name(path), at)
        found = answer.json if answer.body.startswith(b"{") else {}
        name = str(found.get("name", ""))
        kind, _, rest = name.partition("/")
        if kind == "tasks" and method in ("GET", "POST"):
            self._task(name, rest, found, at)
        elif kind == "uploads":
            self._upload(name, rest, found, at)
        elif kind in ("repositories", "remotes") and method == "POST":
            plugin, _, short = rest.partition("/")
            statement = _REPOSITORY if kind == "repositories" else _REMOTE
            self._add(Fact(at, name, f"{name} was made", statement, (plugin, short)))

    def _task(self, name: str, number: str, task: Json, at: float) -> None:
        state = task["state"] if task["state"] in TERMINAL else ""
        with self._guard:
            if self._states.get(name) == state:
                return
            self._states[name] = state
        if not state:
            self._add(Fact(at, name, f"{name} was created", _TASK, (number,)))
            return
        self._ended[name] = at
        made = task.get("created_resource") or ""
        words = f"{name} is {state} and made {made or 'nothing'}"
        self._add(Fact(at, name, words, _ENDED, (number, state, made)))

    def _upload(self, name: str, number: str, upload: Json, at: float) -> None:
        received, complete = int(upload["received_bytes"]), bool(upload.get("complete"))
        words = f"{name} has {received} bytes{' and is complete' if complete else ''}"
        self._add(Fact(at, name, words, _UPLOAD, (number, received, complete)))

    def _gone(self, name: str, at: float) -> None:
        plugin, _, short = name.removeprefix("repositories/").partition("/")
        self._add(Fact(at, "", f"{name} was deleted", f"NOT ({_REPOSITORY})", (plugin, short)))

    def _add(self, fact: Fact) -> None:
        with self._guard:
            self.facts.append(fact)


def _name(path: str) -> str:
    """What is at a path."""
    return path.removeprefix("/api/v3/").rstrip("/")


class Witness(Client):
    """A client that keeps what it was told."""

    def __init__(self, installation: Installation, tally: Tally, told: Told) -> None:
        super().__init__(installation, tally)
        self.told = told

    @property
    def api(self) -> Api:
        """The API, which is listened to."""
        return _Heard(self.installation.api.origin, self.told)


class EventListener(GrpcFollower):
    """Follows the events from the first one, and keeps when it was told each."""

    def __init__(self, installation: Installation, told: Told) -> None:
        super().__init__(installation, 0)
        self._told = told

    def _take(self, number: int, task: str, kind: str) -> None:
        self._told.events.append((time.monotonic(), number, task, kind))
        super()._take(number, task, kind)


class _Heard(Api):
    def __init__(self, origin: str, told: Told) -> None:
        super().__init__(origin, TOKEN)
        self._told = told

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
        self._told.asks(method, path, body)
        began = time.monotonic()
        answer = super().request(method, path, body, query=query, headers=headers, timeout=timeout)
        if answer.status < 300:
            self._told.hears(method, path, answer, began)
        return answer


_EVENTS = "SELECT event_id, 'tasks/' || task_id, kind FROM event WHERE event_id <= %s ORDER BY 1"
_TASK = "EXISTS (SELECT FROM task WHERE task_id = %s::uuid)"
_ENDED = (
    "EXISTS (SELECT FROM task WHERE task_id = %s::uuid AND state = %s AND created_resource = %s)"
)
_REPOSITORY = "EXISTS (SELECT FROM repository WHERE plugin = %s AND name = %s)"
_REMOTE = "EXISTS (SELECT FROM remote WHERE plugin = %s AND name = %s)"
_UPLOAD = (
    "EXISTS (SELECT FROM upload WHERE upload_id = %s::uuid AND received_bytes >= %s"
    " AND (digest IS NOT NULL OR NOT %s))"
)
_FILES = (
    "SELECT jsonb_object_agg(a.relative_path, encode(a.digest, 'hex')) = %s::jsonb"
    " FROM repository r JOIN member m USING (repository_id) JOIN artifact a USING (content_id)"
    " WHERE r.plugin = %s AND r.name = %s AND m.added_in <= %s AND m.removed_in > %s"
    " AND EXISTS (SELECT FROM version v WHERE v.repository_id = r.repository_id"
    "   AND v.number = %s)"
)
_STORED = (
    "NOT EXISTS (SELECT FROM unnest(%s::text[]) AS wanted(hex) WHERE NOT EXISTS ("
    " SELECT FROM blob WHERE digest = decode(wanted.hex, 'hex') AND state = 'live'))"
)
