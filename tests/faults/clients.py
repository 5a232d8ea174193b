"""What clients do while a disk is recorded: all that writes, small and often, and told of."""

import itertools
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack

from entrepot_core.blobs.directory_batch import SMALL_BATCH
from installation import Installation
from rest import Json
from told import Told, Witness
from upstream import Upstream
from work import END_SECONDS, Add, Deferred, Queued, Send, Sync, Tally, Work

POOL = 40
# Between two jobs of one client.
PAUSE_SECONDS = 0.05
# Between two collections of what was deleted, and between two checkpoints.
_COLLECT_SECONDS = 2.0
_CHECKPOINT_SECONDS = 4.0
_PIECE_BYTES = 80_000
# How much of the time is for one job after another.
_ALONE = 0.4
# Repositories that are left as they are, for as long as nobody deletes them.
_KEPT = 4


class LargerSync(Sync):
    """A sync of as many files as are made durable together."""

    count = 3 * SMALL_BATCH


class Pieces(Send):
    """An upload that comes in several requests, each of which is acknowledged."""

    def _send(self, upload: Json, data: bytes) -> bool:
        first = int(self.client.api.get(upload["href"])["received_bytes"])
        last = min(first + _PIECE_BYTES, len(data)) - 1
        place = {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
        answer = self.client.api.request(
            "PUT", upload["href"], data[first : last + 1], headers=place
        )
        return bool(answer.expect(200)["complete"])


class Clients:
    """Clients of one installation, for so many seconds; `errors` is what they met.

    Upstreams stay until `close`, for those who go on with a sync later.
    """

    def __init__(self, installation: Installation, told: Told) -> None:
        self.errors: list[str] = []
        self.tally = Tally()
        self.works = 0
        self.collections = 0
        self._installation = installation
        self._told = told
        self._client = Witness(installation, self.tally, told)
        self._upstreams = ExitStack()
        self._done: deque[Json] = deque()
        self._stopping = threading.Event()

    def run(self, seconds: float) -> None:
        """Work for so long: first one job after another, then all at the same time."""
        # At once: what its key depends on was made a moment ago.
        self._client.api.a_remote(
            "http://127.0.0.1:9/PULP_MANIFEST", username="ann", password=secrets.token_hex(8)
        )
        self._told.has_secrets_at = time.monotonic()
        upstream = self._upstreams.enter_context(Upstream().fill(POOL))
        synced = self._client.api.a_synced_repository(upstream)
        pool = self._client.api.units(synced)
        works: list[Callable[[], None]] = [
            lambda: self._work(Add(self._client, pool)),
            lambda: self._work(Deferred(self._client, pool)),
            lambda: self._work(Queued(self._client, pool)),
            lambda: self._work(Sync(self._client)),
            lambda: self._work(LargerSync(self._client)),
            lambda: self._work(Pieces(self._client)),
        ]
        give_up = time.monotonic() + _ALONE * seconds
        # A sync that one job leaves out is not made up for by another's.
        for job in itertools.cycle([*works, self._collect]):
            if time.monotonic() > give_up:
                break
            self._do(job)
        jobs = [*works, self._collect_now_and_then, self._checkpoint]
        threads = [threading.Thread(target=self._repeat, args=(job,), daemon=True) for job in jobs]
        for thread in threads:
            thread.start()
        self._stopping.wait((1 - _ALONE) * seconds)
        self._stopping.set()
        for thread in threads:
            thread.join(END_SECONDS)

    def close(self) -> None:
        """Close the upstreams."""
        self._upstreams.close()

    def _repeat(self, job: Callable[[], None]) -> None:
        while not self._stopping.wait(PAUSE_SECONDS):
            self._do(job)

    def _do(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:  # noqa: BLE001, the verdict on the run
            self.errors.append(f"I5: {type(error).__name__}: {error}")

    def _work(self, work: Work) -> None:
        work.prepare()
        self._upstreams.callback(work.close)
        work.do()
        self.works += 1
        last = work.tasks[-1] if isinstance(work, Queued) else work.task
        if last["state"] != "completed":
            self.errors.append(f"I5: {last['name']} is {last['state']}: {last.get('error')}")
            return
        version = int(last["created_resource"].rpartition("/")[2])
        self._told.files(work.repository, version, work.files, last)
        if not isinstance(work, Add):
            self._done.append(work.repository)

    def _collect(self) -> None:
        """Delete some of what was made, and have all of it removed."""
        while len(self._done) > _KEPT:
            self._client.api.delete(self._done.popleft()["href"]).expect(200, 204)
        began = time.monotonic()
        task = self._client.finished(self._client.create("core/orphans", grace="0s"))
        self._told.spans.append(("p10", began, time.monotonic()))
        self.collections += 1
        if task["state"] != "completed":
            self.errors.append(f"I5: {task['name']} is {task['state']}: {task.get('error')}")

    def _collect_now_and_then(self) -> None:
        self._stopping.wait(_COLLECT_SECONDS)
        self._collect()

    def _checkpoint(self) -> None:
        self._stopping.wait(_CHECKPOINT_SECONDS)
        self._installation.query("CHECKPOINT")
