"""The weather: self-checking load under random faults, healing, and a look at everything."""

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import patience
from control import Control
from followers import Follower, GrpcFollower, SseFollower
from history import History
from installation import TOKEN, Installation
from journal import Journal
from polling import until
from storm import Storm
from upstream import Upstream
from work import END_SECONDS, Add, Client, Send, Sync, Tally, Work, prepared

if TYPE_CHECKING:
    from rest import Json

POOL = 40
REPOSITORIES = 2
WRITERS = 2
# Between two jobs of one client: what is done has to be looked through afterwards.
PAUSE_SECONDS = 0.3
CANARY = "canary-of-a-password"


class Weather:
    """One seed on one installation; `broken` has what did not hold.

    Args:
        installation: To be hurt.
        journal: Where the run leaves its lines.
        histories: The file that the clients write what they were told to.
        seed: Of everything that is left to chance.
    """

    def __init__(
        self, installation: Installation, journal: Journal, histories: Path, seed: int
    ) -> None:
        self.broken: list[str] = []
        self.fired = 0
        self._installation = installation
        self._journal = journal
        self._path = histories
        self._seed = seed
        self._dice = random.Random(seed)  # noqa: S311, not a secret
        self._tally = Tally()
        self._client = Client(installation, self._tally)
        self._works: list[Work] = []
        self._errors: list[str] = []
        self._stopping = threading.Event()

    def run(self, faults: int, seconds: float) -> None:
        """Load for so long, with so many faults; then heal, and judge."""
        api = self._installation.api
        with Upstream().fill(POOL) as upstream:
            synced = api.a_synced_repository(upstream)
        pool = api.units(synced)
        attributes = pool[0]["unit"]["attributes"]
        base = api.a_distribution(synced)["base_path"]
        path = f"/{base}/{attributes['relative_path']}"
        until(lambda: self._installation.content.request("GET", path).status == 200, path)
        self._plant()
        histories = [History(api.a_repository(), self._path) for _ in range(REPOSITORIES)]
        control = Control(self._installation, path, attributes["sha256"])
        followers = self._followers()
        storm = Storm(self._installation, self._journal, self._dice)
        threads = self._load(histories, pool)
        control.start()
        for follower in followers:
            follower.start()
        for thread in threads:
            thread.start()
        storm.rage(faults, seconds)
        healed = time.monotonic()
        self._stopping.set()
        for thread in threads:
            thread.join(END_SECONDS + 30)
        self.fired = storm.fired
        control.stop()
        self.broken += [f"I5: {one.name} goes on" for one in threads if one.is_alive()]
        self.broken += self._errors
        patience.restored(self._installation, END_SECONDS)
        ended = time.monotonic() - healed
        self.broken += [line for one in histories for line in one.judge(self._client)]
        self.broken += [line for work in self._works for line in work.judge()]
        self.broken += [line for one in followers for line in one.judge()]
        self.broken += control.judge(storm.down)
        for one in followers:
            one.stop()
        self.broken += [f"I15: {one}" for one in self._tally.wrong]
        self.broken += self._leaks()
        self.broken += self._installation.check()
        self._journal.write(
            kind="weather", wrong=self.broken, seconds=seconds,
            ended_seconds=round(ended, 2), served=control.served,
            slowest_seconds=round(control.slowest_seconds, 2),
            followers={type(one).__name__: one.streams for one in followers},
            changes=sum(len(one.changes) for one in histories), works=len(self._works),
            versions=sum(len({c.version for c in one.changes if c.changed}) for one in histories),
            events=len(followers[0].received),
            statuses=dict(self._tally.statuses),
        )  # fmt: skip

    def _followers(self) -> list[Follower]:
        ((after,),) = self._installation.query("SELECT coalesce(max(event_id), 0) FROM event")
        installation = self._installation
        return [
            SseFollower(installation, after),
            SseFollower(installation, after, pause=0.02),
            GrpcFollower(installation, after),
        ]

    def _load(self, histories: list[History], pool: "list[Json]") -> list[threading.Thread]:
        dice = [random.Random(self._dice.random()) for _ in range(WRITERS)]  # noqa: S311
        jobs: list[tuple[str, Callable[[], None]]] = [
            (f"writer of {one.repository['name']}", lambda one=one, own=own: one.write(  # type: ignore[misc]
                self._client, pool, own))
            for one in histories
            for own in dice
        ]  # fmt: skip
        jobs += [
            (f"reader of {one.repository['name']}", lambda one=one: self._read(one))  # type: ignore[misc]
            for one in histories
        ]
        jobs.append(("syncs", lambda: self._work(Sync(self._client))))
        jobs.append(("uploads", lambda: self._work(Send(self._client))))
        jobs.append(("adds", lambda: self._work(Add(self._client, pool))))
        return [
            threading.Thread(target=self._repeat, args=(job,), name=name, daemon=True)
            for name, job in jobs
        ]

    def _read(self, history: History) -> None:
        history.read(self._client)

    def _repeat(self, job: Callable[[], None]) -> None:
        while not self._stopping.wait(PAUSE_SECONDS):
            try:
                job()
            except Exception as error:  # noqa: BLE001, the verdict on the run
                self._errors.append(
                    f"I5: {threading.current_thread().name}: {type(error).__name__}: {error}"
                )

    def _work(self, work: Work) -> None:
        until(lambda: prepared(work), "the work to be prepared", END_SECONDS)
        try:
            work.do()
            self._works.append(work)
        finally:
            work.close()

    def _plant(self) -> None:
        """Give core a secret that must never be seen again (I17)."""
        self._installation.api.a_remote(
            "http://127.0.0.1:9/PULP_MANIFEST", username="ann", password=CANARY
        )

    def _leaks(self) -> list[str]:
        wrong = []
        for log in sorted((self._installation.home / "logs").iterdir()):
            text = log.read_text(errors="replace")
            wrong += [f"I17: {log.name} has a secret" for one in (CANARY, TOKEN) if one in text]
        for table in ("task", "task_detail", "event", "progress", "lost_attempt", "remote"):
            rows = self._installation.query(
                f"SELECT 1 FROM {table} t WHERE t::text LIKE ANY(%s) LIMIT 1",  # noqa: S608
                ([f"%{one}%" for secret in (CANARY, TOKEN) for one in _spelled(secret)],),
            )
            wrong += [f"I17: a row of {table} has a secret"] if rows else []
        return wrong


def _spelled(secret: str) -> tuple[str, str]:
    """As text, and as bytes are shown."""
    return secret, secret.encode().hex()
