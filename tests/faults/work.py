"""What is done while something fails, and what must have come of it: one repository for each."""

import hashlib
import http.client
import random
import secrets
import threading
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from functools import partial

from installation import Installation
from polling import until
from rest import TERMINAL, Answer, Api, Json
from upstream import Upstream, digest_of

# Statuses after which trying again makes sense.
PASSING = (502, 503, 504)
# After everything is healed, a task has 75 s to end (I5); others of its round are hurt first.
END_SECONDS = 180.0
# Lost attempts that count, after which a task fails (I6).
MOST_LOST = 3


@dataclass
class Tally:
    """What an installation answered (I15)."""

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def note(self, method: str, path: str, answer: Answer) -> None:
        """Count an answer, and keep what must not be."""
        with self.guard:
            self.statuses[answer.status] += 1
            if answer.status == 500 or b"Traceback" in answer.body:
                self.wrong.append(f"{method} {path}: {answer.status} {answer.body[:300]!r}")
            if answer.status == 503 and not answer.headers["Retry-After"]:
                self.wrong.append(f"{method} {path}: 503 without Retry-After")


class Client:
    """A careful user: sends again what may be sent again, and judges each answer."""

    def __init__(self, installation: Installation, tally: Tally) -> None:
        self.installation = installation
        self.tally = tally

    @property
    def api(self) -> Api:
        """The API, for what is not hurt."""
        return self.installation.api

    def ask(
        self, method: str, path: str, body: object = None, **options: dict[str, str]
    ) -> Answer | None:
        """What a request is answered; None if it broke or is to be sent again."""
        try:
            answer = self.api.request(
                method, path, body, timeout=15,
                headers=options.get("headers"), query=options.get("query"),
            )  # fmt: skip
        except (OSError, http.client.HTTPException):
            return self._later()
        self.tally.note(method, path, answer)
        return self._later() if answer.status in PASSING else answer

    @staticmethod
    def _later() -> None:
        # A server that is down is not brought up by asking.
        threading.Event().wait(0.2)

    def insist(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """What a request is answered in the end."""
        return until(
            lambda: self.ask(method, path, body, headers=headers), f"{method} {path}", END_SECONDS
        )

    def create(self, task_type: str, query: str = "", **parameters: object) -> Json:
        """Create a task once, however often it has to be asked for."""
        key = {"Idempotency-Key": secrets.token_hex(8)}
        path = f"tasks/{task_type}/{query}"
        return dict(self.insist("POST", path, parameters, **key).expect(200, 201))

    def finished(self, task: Json) -> Json:
        """The task, at its end."""

        def look() -> Json | None:
            answer = self.ask("GET", task["href"], query={"wait": "5s"})
            found = dict(answer.expect(200)) if answer else None
            return found if found and found["state"] in TERMINAL else None

        return until(look, f"the end of {task['name']}", END_SECONDS)


def _is_exhausted(task: Json) -> bool:
    """Say whether so many attempts were lost that the task had to fail, saying so."""
    counted = [one for one in task.get("lost_attempts", []) if one["counted"]]
    return bool(task["state"] == "failed" and len(counted) == MOST_LOST)


def _met_a_bad_disk(task: Json) -> bool:
    """Say whether the task failed because its disk was said to fail, and says that."""
    return (task.get("error") or {}).get("reason") in {"STORAGE_FULL", "STORAGE_FAILED"}


class Work(ABC):
    """Something that makes one version of one new repository.

    `prepare` comes before anything fails, `do` while it does, `judge` when all is well again.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.repository: Json = {}
        self.task: Json = {}
        self.files: dict[str, str] = {}
        self.state = "completed"

    def prepare(self) -> None:
        """Make the repository."""
        self.repository = self.client.api.a_repository()

    @abstractmethod
    def do(self) -> None:
        """Have a task done, to its end."""

    def number(self) -> str | None:
        """The number of the task that is hurt, which need not have been told of yet."""
        rows = self.client.installation.query(
            "SELECT task_id::text FROM task_resource JOIN resource USING (resource_id)"
            " WHERE name = %s ORDER BY task_id DESC LIMIT 1",
            (self.repository["name"],),
        )
        return rows[0][0] if rows else None

    def close(self) -> None:  # noqa: B027, most have nothing to give back
        """Give back what `prepare` took."""

    def judge(self) -> list[str]:
        """Every invariant that does not hold, in words; empty if all do."""
        wrong = []
        task, repository = self.task, self.repository
        if _is_exhausted(task) or _met_a_bad_disk(task):
            self.state = "failed"
        if task.get("state") != self.state:
            return [f"I5: it ended {task.get('state')}: {task.get('error')}"]
        versions = self.client.api.versions(repository)
        made = self.state == "completed"
        if versions != ([0, 1] if made else [0]):
            wrong.append(f"I3: the versions are {versions}")
        if made and task["created_resource"] != f"{repository['name']}/versions/1":
            wrong.append(f"I2: it says it made {task['created_resource']!r}")
        if made and versions == [0, 1] and self.client.api.files(repository) != self.files:
            wrong.append("I1: the version is not what was asked for")
        tasks = self.client.api.everything("tasks/", resource=repository["name"])
        if len(tasks) != 1:
            wrong.append(f"I12: there are {len(tasks)} tasks")
        return wrong + self._judge_rows(task)

    def _judge_rows(self, task: Json) -> list[str]:
        number = task["name"].partition("/")[2]
        query = self.client.installation.query
        wrong = []
        for table, rule in (("lock_entry", "I4"), ("workspace", "I14")):
            if query(f"SELECT 1 FROM {table} WHERE task_id = %s::uuid", (number,)):  # noqa: S608
                wrong.append(f"{rule}: it is over and has rows in {table}")
        lost = task.get("lost_attempts", [])
        if (
            any(not one["reason"] for one in lost)
            or sum(one["counted"] for one in lost) > MOST_LOST
        ):
            wrong.append(f"I6: the lost attempts are {lost}")
        kinds = until(lambda: self._events(number), "the events to be numbered")
        starts, losses = kinds.count("started"), kinds.count("lost")
        ends = [kind for kind in kinds if kind in TERMINAL]
        if kinds[0] != "created" or ends != [task["state"]] or kinds[-1] != task["state"]:
            wrong.append(f"I11: the events are {kinds}")
        if task["state"] == "completed" and (starts, losses) != (task["attempt"], starts - 1):
            wrong.append(f"I11: {task['attempt']} attempts, and the events {kinds}")
        return wrong

    def _events(self, number: str) -> list[str] | None:
        rows = self.client.installation.query(
            "SELECT kind FROM event WHERE task_id = %s::uuid AND kind <> 'progressed'"
            " ORDER BY event_id",
            (number,),
        )
        kinds = [row[0] for row in rows]
        return kinds if kinds and kinds[-1] in TERMINAL else None


class Add(Work):
    """Adds units that are there: work that the api does at once, unless it may wait."""

    query = ""

    def __init__(self, client: Client, pool: list[Json]) -> None:
        super().__init__(client)
        self._units = random.sample(pool, 3)

    def do(self) -> None:
        names = [unit["name"] for unit in self._units]
        attributes = (unit["unit"]["attributes"] for unit in self._units)
        self.files = {one["relative_path"]: one["sha256"] for one in attributes}
        task = self.client.create(
            "file/adds", self.query, repository=self.repository["name"], content=names
        )
        self.task = self.client.finished(task)


class Deferred(Add):
    """Adds units in the background: work that core leaves to a dispatcher."""

    query = "?priority=background"


class Queued(Deferred):
    """Two additions to one repository, of which the second waits for the locks of the first."""

    def do(self) -> None:
        names = [unit["name"] for unit in self._units]
        attributes = (unit["unit"]["attributes"] for unit in self._units)
        self.files = {one["relative_path"]: one["sha256"] for one in attributes}
        repository = self.repository["name"]
        tasks = [
            self.client.create("file/adds", self.query, repository=repository, content=[one])
            for one in (names[0], names[1], names[2])
        ]
        self.tasks = [self.client.finished(task) for task in tasks]
        self.task = self.tasks[0]

    def judge(self) -> list[str]:
        api, name = self.client.api, self.repository["name"]
        states = [task["state"] for task in self.tasks]
        if states != ["completed"] * 3:
            return [f"I5: they ended {states}: {[task.get('error') for task in self.tasks]}"]
        wrong = []
        made = [task["created_resource"] for task in self.tasks]
        if made != [f"{name}/versions/{number}" for number in (1, 2, 3)]:
            wrong.append(f"I4: in their order, they made {made}")
        if api.versions(self.repository) != [0, 1, 2, 3]:
            wrong.append(f"I3: the versions are {api.versions(self.repository)}")
        if api.files(self.repository) != self.files:
            wrong.append("I1: the version is not what was asked for")
        return [*wrong, *(line for task in self.tasks for line in self._judge_rows(task))]


class Sync(Work):
    """Fetches files that nobody has had: a plugin's work, with downloads."""

    count = 3

    def prepare(self) -> None:
        super().prepare()
        self.upstream = Upstream().fill(self.count, 2000)
        self.upstream.__enter__()
        self.files = self.upstream.digests()
        self._remote = self.client.api.a_remote(self.upstream, max_retries=5)

    def do(self) -> None:
        self.task = self.client.finished(self.create())

    def create(self) -> Json:
        """Create the task."""
        names = {"repository": self.repository["name"], "remote": self._remote["name"]}
        return self.client.create("file/syncs", **names)

    def close(self) -> None:
        self.upstream.__exit__(None, None, None)


class Canceled(Sync):
    """A sync that its user cancels as soon as it runs."""

    def prepare(self) -> None:
        super().prepare()
        self.state = "canceled"
        self._gate = self.upstream.hold(min(self.upstream.files))

    def do(self) -> None:
        task = self.create()
        until(lambda: self._runs(task), "the attempt to run", END_SECONDS)
        self.client.insist("PATCH", task["href"], {"state": "canceled"}).expect(200)
        self.task = self.client.finished(task)

    def close(self) -> None:
        self._gate.open()
        super().close()

    def _runs(self, task: Json) -> bool:
        answer = self.client.ask("GET", task["href"])
        return answer is not None and answer.expect(200)["state"] == "running"


class Collect(Sync):
    """Collects what nobody has, without grace, while a sync brings some of it back."""

    def prepare(self) -> None:
        super().prepare()
        api = self.client.api
        self._path = api.a_distribution(self.repository)["base_path"]
        with Upstream().fill(2, 2000) as lonely:
            for upstream in (self.upstream, lonely):
                api.delete(api.a_synced_repository(upstream)["href"]).expect(200, 204)
            self._dead = [bytes.fromhex(digest) for digest in lonely.digests().values()]
        # Attempts hold what they fetched until the sweeper has noticed that they are over.
        held = "SELECT 1 FROM attempt_blob WHERE digest = ANY(%s::bytea[])"
        query = self.client.installation.query
        until(lambda: not query(held, (self._dead,)), "the sweeper", END_SECONDS)
        self._collection: Json = {}

    def number(self) -> str | None:
        rows = self.client.installation.query(
            "SELECT task_id::text FROM task WHERE task_type = 'core/orphans'"
            " ORDER BY ended_at IS NULL DESC, task_id DESC LIMIT 1"
        )
        return rows[0][0] if rows else None

    def do(self) -> None:
        collection = self.client.create("core/orphans", grace="0s")
        super().do()
        self._collection = self.client.finished(collection)

    def judge(self) -> list[str]:
        one = self._collection
        wrong = super().judge() + self._judge_rows(one)
        if one["state"] != "completed" and not (_is_exhausted(one) or _met_a_bad_disk(one)):
            wrong.append(f"I5: the collection ended {one['state']}: {one.get('error')}")
        if self.state == "completed":
            wrong += self._judge_bytes()
        return wrong + self._judge_dead()

    def _judge_dead(self) -> list[str]:
        """I9: what nobody has goes, once it is noticed that attempts that held it are over."""
        try:
            until(self._is_gone, "the next collection to take what nobody has", END_SECONDS)
        except AssertionError as error:
            return [f"I9: {error}: {self._dead}"]
        return []

    def _is_gone(self) -> bool:
        query = "SELECT 1 FROM blob WHERE digest = ANY(%s::bytea[])"
        if not self.client.installation.query(query, (self._dead,)):
            return True
        self.client.finished(self.client.create("core/orphans", grace="0s"))
        return False

    def _judge_bytes(self) -> list[str]:
        """I9: what came back while it was collected is there."""
        wrong = []
        for path, digest in self.files.items():
            answer = until(partial(self._read, path), f"an answer for {path}", END_SECONDS)
            if answer.status != 200 or digest_of(answer.body) != digest:
                wrong.append(f"I9: {path} is answered {answer.status}")
        return wrong

    def _read(self, path: str) -> Answer | None:
        origin = self.client.installation.content
        answer = origin.request("GET", f"/{self._path}/{path}", timeout=15)
        return None if answer.status in PASSING else answer


class Send(Work):
    """Uploads a file, in the face of broken connections, and has a unit made of it."""

    def do(self) -> None:
        data = secrets.token_bytes(200_000)
        path = f"{secrets.token_hex(6)}.bin"
        self.files = {path: digest_of(data)}
        body = {"size_bytes": len(data), "filename": path, "sha256": digest_of(data)}
        upload = dict(self.client.insist("POST", "uploads/", body).expect(201))
        until(lambda: self._send(upload, data), "the upload to be complete", END_SECONDS)
        task = self.client.create(
            "file/uploads", repository=self.repository["name"], upload=upload["name"],
            relative_path=path,
        )  # fmt: skip
        self.task = self.client.finished(task)

    def _send(self, upload: Json, data: bytes) -> bool:
        answer = self.client.ask("GET", upload["href"])
        if answer is None:
            return False
        now = answer.expect(200)
        first = int(now["received_bytes"])
        if now["complete"]:
            return True
        rest = f"{first}-{len(data) - 1}" if first < len(data) else "*"
        place = {"Content-Range": f"bytes {rest}/{len(data)}"}
        answer = self.client.ask("PUT", upload["href"], data[first:], headers=place)
        # What a full disk is answered may be tried again, as it says.
        return bool(answer and answer.status == 200 and answer.json["complete"])


class Fetch(Work):
    """Asks for a file of a distribution whose bytes core gets from upstream at that moment."""

    def prepare(self) -> None:
        super().prepare()
        self.upstream = Upstream().fill(1, 400_000)
        self.upstream.__enter__()
        self.files = self.upstream.digests()
        api = self.client.api
        remote = api.a_remote(self.upstream, max_retries=5, policy="on_demand")
        self.task = api.completed(
            "file/syncs", repository=self.repository["name"], remote=remote["name"]
        )
        self._base = api.a_distribution(self.repository)["base_path"]
        self._wrong: list[str] = []

    def do(self) -> None:
        until(self._get, "the whole file", END_SECONDS)

    def judge(self) -> list[str]:
        return super().judge() + [f"I7: {one}" for one in self._wrong]

    def close(self) -> None:
        self.upstream.__exit__(None, None, None)

    def _get(self) -> bool:
        ((path, digest),) = self.files.items()
        try:
            answer = self.client.installation.content.request(
                "GET", f"/{self._base}/{path}", timeout=15
            )
        except (OSError, http.client.HTTPException):
            return False
        if answer.status in PASSING:
            return False
        if answer.status != 200 or hashlib.sha256(answer.body).hexdigest() != digest:
            self._wrong.append(f"GET was answered {answer.status}, {len(answer.body)} bytes")
        return True


class Read(Work):
    """Reads a published file slowly, which core and the database have nothing more to do with."""

    SIZE = 3_000_000

    def prepare(self) -> None:
        super().prepare()
        self.upstream = Upstream()
        self.upstream.files["big.bin"] = secrets.token_bytes(self.SIZE)
        self.upstream.__enter__()
        self.files = self.upstream.digests()
        api = self.client.api
        remote = api.a_remote(self.upstream)
        self.task = api.completed(
            "file/syncs", repository=self.repository["name"], remote=remote["name"]
        )
        self._path = f"/{api.a_distribution(self.repository)['base_path']}/big.bin"
        self._wrong: list[str] = []
        self.is_halfway = threading.Event()
        self.goes_on = threading.Event()

    def do(self) -> None:
        until(self._get, "the whole file", END_SECONDS)

    def judge(self) -> list[str]:
        return super().judge() + [f"I7: {one}" for one in self._wrong]

    def close(self) -> None:
        self.upstream.__exit__(None, None, None)

    def _get(self) -> bool:
        content = self.client.installation.content
        try:
            with content.open("GET", self._path, timeout=15) as response:
                if response.status in PASSING:
                    return False
                length = int(response.headers["Content-Length"] or -1)
                body = response.read(65536)
                self.is_halfway.set()
                self.goes_on.wait(10)
                body += response.read()
        except (OSError, http.client.HTTPException):
            return False
        if response.status != 200 or length != self.SIZE:
            self._wrong.append(f"{response.status} with {length} bytes announced")
        if digest_of(body) != self.files["big.bin"]:
            self._wrong.append(f"{len(body)} wrong bytes, and a clean end")
        return True


def prepared(work: Work) -> bool:
    """Prepare it; False if that failed, and may be tried again."""
    try:
        work.prepare()
    except (OSError, http.client.HTTPException, AssertionError):
        return False
    return True
