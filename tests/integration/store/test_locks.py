"""Lock queues held to a reference model: step by step, and with everything at once.

ENTREPOT_LOCK_EXAMPLES and ENTREPOT_LOCK_TASKS make the runs longer.
"""

import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from entrepot_core.domain.errors import AttemptSupersededError, CanceledError
from entrepot_core.domain.task import Loss, State
from entrepot_core.store import queue, sweep, tasks
from entrepot_core.store.database import Cursor, Database
from entrepot_core.store.engine_check import check_engine
from lock_model import LockModel, ModelTask, Run, overtakers
from queues import a_dispatcher, a_plugin, a_task, claim, resource_numbers
from workspace import ROOT

EXAMPLES = int(os.environ.get("ENTREPOT_LOCK_EXAMPLES", "30"))
STEPS = 40
TASKS = int(os.environ.get("ENTREPOT_LOCK_TASKS", "600"))

RESOURCES = 4
DISPATCHERS = 3
LIMITS = {"large": 1000, "small": 2}

DRAWN = re.findall(
    r"^ *(\w+) --> (\w+): ", (ROOT / "docs" / "state-machine.md").read_text("utf-8"), re.MULTILINE
)

LOCKS = st.dictionaries(st.integers(0, RESOURCES - 1), st.booleans(), min_size=0, max_size=3)
LOSSES = {
    "is taken over": Loss("Its dispatcher died.", is_counted=False),
    "is refused": Loss("The plugin is full.", is_counted=False, delay_seconds=3600),
    "fails for now": Loss("Upstream is down.", is_counted=True, delay_seconds=3600),
}


def finish(database: Database, claimed: queue.Claimed) -> None:
    """Completes an attempt."""
    with database.transaction() as cursor:
        queue.finish(
            cursor, claimed.workspace_id, claimed.task_id, queue.Outcome(state=State.COMPLETED)
        )


def lose(database: Database, claimed: queue.Claimed, loss: Loss) -> State:
    """Ends an attempt that did not end its task."""
    with database.transaction() as cursor:
        return queue.lose(
            cursor,
            claimed.task_id,
            loss,
            lambda error: error.message.encode(),
            canceled=CanceledError("Canceled."),
            workspace_id=claimed.workspace_id,
        )


def end_back_offs(database: Database, most: int = 100) -> int:
    """Lets the time of parked tasks pass, and sweeps; how many became ready comes back."""
    with database.transaction() as cursor:
        cursor.execute("UPDATE task SET not_before = clock_timestamp() WHERE parked")
        return sweep.unpark(cursor, most)


def deadlocks(database: Database) -> int:
    """How many there have been in this database."""
    with database.transaction() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return int((cursor.fetchone() or (0,))[0])


class Locks(RuleBasedStateMachine):
    """Random tasks, claims, ends, losses and cancels; after each the rows are the model's."""

    database: Database
    attempts: Bundle[queue.Claimed] = Bundle("attempts")
    gone: Bundle[queue.Claimed] = Bundle("gone")

    @initialize()
    def begin(self) -> None:
        """Starts with an empty queue and three dispatchers."""
        self.model = LockModel()
        with self.database.transaction() as cursor:
            cursor.execute(
                "TRUNCATE task, lock_entry, task_resource, workspace, event_inbox, event,"
                " dispatcher, resource CASCADE"
            )
            numbers = resource_numbers(cursor, [f"r{n}" for n in range(RESOURCES)])
        self.resources = list(numbers.values())
        self.dispatchers = [a_dispatcher(self.database) for _ in range(DISPATCHERS)]

    @rule(
        locks=LOCKS,
        plugin=st.sampled_from(list(LIMITS)),
        priority=st.sampled_from([tasks.INTERACTIVE, tasks.NORMAL, tasks.BACKGROUND]),
    )
    def create(self, locks: dict[int, bool], plugin: str, priority: int) -> None:
        """A task joins the queues of its resources."""
        asked = {self.resources[number]: exclusive for number, exclusive in locks.items()}
        with self.database.transaction() as cursor:
            task = a_task(cursor, asked, plugin=plugin, priority=priority)
        self.model.tasks[task] = ModelTask(asked, plugin)

    @rule(
        target=attempts,
        number=st.integers(0, DISPATCHERS - 1),
        most=st.sampled_from([1, 2, 10]),
    )
    def claim(self, number: int, most: int) -> Any:  # noqa: ANN401  any number of attempts
        """A dispatcher gets what may start, as much as there is and fits."""
        expected = {
            name: ready[: LIMITS[name] - len(self.model.running(name))]
            if name == "small"
            else ready
            for name in LIMITS
            for ready in [self.model.ready(name)]
        }
        may_start = {task for name in LIMITS for task in self.model.ready(name)}

        claimed = claim(self.database, self.dispatchers[number], most)

        assert {one.task_id for one in claimed} <= may_start
        assert len(claimed) == min(most, sum(map(len, expected.values())))
        for one in claimed:
            task = self.model.tasks[one.task_id]
            task.state = "running"
            task.attempt += 1
            assert one.attempt == task.attempt
        assert len(self.model.running("small")) <= LIMITS["small"]
        return multiple(*claimed)

    @rule(attempt=consumes(attempts))
    def finish(self, attempt: queue.Claimed) -> None:
        """An attempt completes its task, if it has not been canceled to death meanwhile."""
        finish(self.database, attempt)
        del self.model.tasks[attempt.task_id]

    @rule(target=gone, attempt=consumes(attempts), loss=st.sampled_from(list(LOSSES)))
    def lose(self, attempt: queue.Claimed, loss: str) -> queue.Claimed:
        """An attempt is lost: the task keeps its locks, unless it was the third or is to stop."""
        task = self.model.tasks[attempt.task_id]
        task.counted += LOSSES[loss].is_counted

        state = lose(self.database, attempt, LOSSES[loss])

        if task.counted >= 3 or task.is_to_stop:
            assert state == (State.CANCELED if task.is_to_stop else State.FAILED)
            del self.model.tasks[attempt.task_id]
        else:
            assert state == State.WAITING
            task.state = "waiting"
            task.is_parked = LOSSES[loss].delay_seconds is not None
        return attempt

    @rule(attempt=gone, loss=st.sampled_from(["finish", *LOSSES]))
    def come_late(self, attempt: queue.Claimed, loss: str) -> None:
        """What an attempt does that was taken over changes nothing."""
        if loss == "finish":
            with pytest.raises(AttemptSupersededError):
                finish(self.database, attempt)
        else:
            with pytest.raises(AttemptSupersededError):
                lose(self.database, attempt, LOSSES[loss])

    @precondition(lambda self: self.model.tasks)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """A waiting task ends at once, a running one is asked to stop."""
        task_id = data.draw(st.sampled_from(list(self.model.tasks)))
        task = self.model.tasks[task_id]
        with self.database.transaction() as cursor:
            assert queue.cancel(cursor, task_id, b"canceled") == task.state
        if task.state == "running":
            task.is_to_stop = True
        else:
            del self.model.tasks[task_id]

    @rule()
    def end_back_offs(self) -> None:
        """Time passes: what was parked may start."""
        parked = [task for task in self.model.tasks.values() if task.is_parked]
        assert end_back_offs(self.database) == len(parked)
        for task in parked:
            task.is_parked = False

    @invariant()
    def the_rows_are_the_models(self) -> None:
        """Every lock is held by those and only those who should have it."""
        rows = self.database.fetch("SELECT resource_id, task_id::text, granted FROM lock_entry")
        assert {(resource, task): has for resource, task, has in rows} == self.model.granted()
        rows = self.database.fetch(
            "SELECT task_id::text, state, parked, waits_for FROM task WHERE ended_at IS NULL"
        )
        missing = self.model.waits_for()
        assert {row[0]: row[1:] for row in rows} == {
            name: (task.state, task.is_parked, missing[name])
            for name, task in self.model.tasks.items()
        }
        assert self.database.fetch("SELECT * FROM stuck_resources()") == []

    def teardown(self) -> None:
        """Everything ends, and nothing is left."""
        if not hasattr(self, "model"):
            return
        end_back_offs(self.database)
        for _ in range(10_000):
            claimed = claim(self.database, self.dispatchers[0], 10)
            for one in claimed:
                finish(self.database, one)
            left = self.database.fetch("SELECT workspace_id, task_id::text FROM workspace")
            for workspace_id, task_id in left:
                with self.database.transaction() as cursor:
                    queue.finish(
                        cursor, workspace_id, task_id, queue.Outcome(state=State.COMPLETED)
                    )
            if not claimed and not left:
                break
        assert_at_rest(self.database)


def assert_at_rest(database: Database) -> None:
    """Nothing runs, nothing waits, and nothing of it is left."""
    assert database.fetch("SELECT state FROM task WHERE ended_at IS NULL") == []
    assert database.fetch("SELECT * FROM lock_entry") == []
    assert database.fetch("SELECT * FROM workspace") == []
    assert [str(finding) for finding in check_engine(database)] == []


def test_the_queues_do_as_the_model_says(database: Database) -> None:
    """No lock is held twice, given out of turn, lost or left over, whatever happens."""
    with database.transaction() as cursor:
        for name, most in LIMITS.items():
            a_plugin(cursor, name, max_running=most)
    machine = type("Locks", (Locks,), {"database": database})

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

    assert deadlocks(database) == 0


class Crowd:
    """Creators, dispatchers, a canceler and a sweeper, each with connections of its own."""

    def __init__(self, database: Database, total: int) -> None:
        self.database = database
        self.total = total
        self.seed = random.randrange(10**6)  # noqa: S311  not a secret
        self.locks: dict[str, dict[int, bool]] = {}
        self.started: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self.orphans: list[queue.Claimed] = []
        self.problems: list[BaseException] = []
        self._done = threading.Event()
        self._dispatchers = iter([a_dispatcher(database) for _ in range(4)])
        with database.transaction() as cursor:
            for name, most in LIMITS.items():
                a_plugin(cursor, name, max_running=most)
            numbers = resource_numbers(cursor, [f"r{n}" for n in range(12)])
        self._resources = list(numbers.values())

    def run(self, seconds: float) -> None:
        """Until all tasks have ended, or something is wrong, or it takes too long."""
        roles = [*[self._create] * 4, *[self._work] * 4, self._cancel, self._sweep]
        threads = [
            threading.Thread(target=self._guarded, args=(role, random.Random(self.seed + n)))  # noqa: S311  not a secret
            for n, role in enumerate(roles)
        ]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.problems:
            rows = self.database.fetch("SELECT count(*), count(ended_at) FROM task")
            if rows == [(self.total, self.total)]:
                break
            self._done.wait(0.05)
        self._done.set()
        for thread in threads:
            thread.join()

    def runs(self) -> list[Run]:
        """What ran, as the history has it."""
        places = self.database.fetch("SELECT task_id::text, seq FROM task")
        return [
            Run(seq, self.locks[task], self.started[task], self.ended[task])
            for task, seq in places
            if task in self.started
        ]

    def _guarded(self, role: Callable[[random.Random], None], rng: random.Random) -> None:
        try:
            role(rng)
        except BaseException as error:  # noqa: BLE001  shown by the test
            self.problems.append(error)

    def _create(self, rng: random.Random) -> None:
        # Three that everybody wants, and some that few do.
        hot, rest = self._resources[:3], self._resources[3:]
        for _ in range(self.total // 4):
            picked = {*rng.sample(hot, rng.randint(0, 2)), *rng.sample(rest, rng.randint(0, 2))}
            locks = {one: rng.random() < 0.3 for one in sorted(picked, key=lambda _: rng.random())}
            plugin = rng.choice(["large", "large", "small"])
            with self.database.transaction() as cursor:
                task = a_task(cursor, locks, plugin=plugin, priority=rng.randrange(3))
                self.locks[task] = locks
                _dawdle(cursor, rng)

    def _work(self, rng: random.Random) -> None:
        dispatcher = next(self._dispatchers)
        while not self._done.is_set():
            claimed = claim(self.database, dispatcher, rng.choice([1, 3, 10]))
            now = time.monotonic()
            for one in claimed:
                self.started.setdefault(one.task_id, now)
            for one in claimed:
                self._end(one, rng)
            if not claimed:
                self._done.wait(0.002)

    def _end(self, one: queue.Claimed, rng: random.Random) -> None:
        chance = rng.random()
        if chance < 0.05:
            # Its dispatcher dies: somebody else has to find it.
            self.orphans.append(one)
        elif chance < 0.15:
            self._lose(one, Loss("Lost.", is_counted=chance < 0.1, delay_seconds=3600))
        else:
            with self.database.transaction() as cursor:
                queue.finish(
                    cursor, one.workspace_id, one.task_id, queue.Outcome(state=State.COMPLETED)
                )
                self.ended[one.task_id] = time.monotonic()
                _dawdle(cursor, rng)

    def _lose(self, one: queue.Claimed, loss: Loss) -> None:
        with self.database.transaction() as cursor:
            state = queue.lose(
                cursor,
                one.task_id,
                loss,
                lambda error: error.message.encode(),
                canceled=CanceledError("Canceled."),
                workspace_id=one.workspace_id,
            )
            if state != State.WAITING:
                self.ended[one.task_id] = time.monotonic()

    def _cancel(self, rng: random.Random) -> None:
        while not self._done.is_set():
            known = list(self.locks)
            if known:
                task = rng.choice(known)
                with self.database.transaction() as cursor:
                    if queue.cancel(cursor, task, b"canceled") == "waiting":
                        self.ended[task] = time.monotonic()
            self._done.wait(0.02)

    def _sweep(self, rng: random.Random) -> None:
        while not self._done.is_set():
            assert self.database.fetch("SELECT * FROM stuck_resources()") == []
            end_back_offs(self.database, rng.choice([1, 100]))
            while self.orphans:
                one = self.orphans.pop()
                self._lose(one, Loss("Its dispatcher died.", is_counted=False))
                with pytest.raises(AttemptSupersededError):
                    finish(self.database, one)
            self._done.wait(0.01)


def _dawdle(cursor: Cursor, rng: random.Random) -> None:
    # Between what it did and its commit: that is where races are.
    if rng.random() < 0.2:
        cursor.execute("SELECT pg_sleep(0.003)")


@pytest.fixture
def transitions(database: Database) -> Iterator[Callable[[], set[tuple[str, str]]]]:
    """From which state to which tasks went meanwhile."""
    database.fetch(
        "CREATE TABLE transition (before text, after text);"
        "CREATE FUNCTION note_transition() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO transition VALUES (OLD.state, NEW.state); RETURN NULL; END';"
        "CREATE TRIGGER note_transition AFTER UPDATE ON task FOR EACH ROW"
        " WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION note_transition()"
    )
    yield lambda: set(database.fetch("SELECT DISTINCT before, after FROM transition"))
    database.fetch("DROP FUNCTION note_transition CASCADE; DROP TABLE transition")


def test_a_crowd_overtakes_nobody(
    database: Database, transitions: Callable[[], set[tuple[str, str]]]
) -> None:
    """Of two tasks that conflict, the first in the queue is over before the other starts.

    All of them go the ways that docs/state-machine.md draws.
    """
    crowd = Crowd(database, TASKS)

    crowd.run(seconds=60 + TASKS / 10)

    assert crowd.problems == [], f"seed {crowd.seed}"
    assert_at_rest(database)
    assert list(overtakers(crowd.runs())) == [], f"seed {crowd.seed}"
    assert len(crowd.started) > TASKS / 2
    assert transitions() <= set(DRAWN)
    assert deadlocks(database) == 0
