"""Those who share a lock and leave together: whoever waits for it is woken, in any order."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from entrepot_core.domain.task import State
from entrepot_core.store import queue
from entrepot_core.store.database import Cursor, Database
from polling import until
from queues import a_dispatcher, a_plugin, a_task, claim, resource_numbers

DONE = queue.Outcome(state=State.COMPLETED)
LETS_GO = pytest.mark.parametrize("first", [0, 1], ids=["in-order", "crosswise"])


class Sharers:
    """Two tasks that run and share one resource."""

    def __init__(self, database: Database) -> None:
        self.database = database
        with database.transaction() as cursor:
            a_plugin(cursor)
            self.resource = resource_numbers(cursor, ["shared"])["shared"]
            for _ in range(2):
                a_task(cursor, {self.resource: False})
        self.running = claim(database, a_dispatcher(database), 2)
        assert len(self.running) == 2

    def leave(self, cursor: Cursor, index: int) -> None:
        """One of them ends, in a transaction that is open."""
        one = self.running[index]
        queue.lock_workspace(cursor, one.workspace_id)
        queue.finish(cursor, one.workspace_id, one.task_id, DONE)

    def leave_at_once(self, index: int) -> None:
        """One of them ends."""
        with self.database.transaction() as cursor:
            self.leave(cursor, index)

    def await_alone(self) -> str:
        """A new task that wants the resource for itself."""
        with self.database.transaction() as cursor:
            return a_task(cursor, {self.resource: True})

    def is_ready(self, task_id: str) -> bool:
        """Whether nothing keeps it from being claimed."""
        query = "SELECT waits_for = 0 FROM task WHERE task_id = %s::uuid"
        return bool(self.database.fetch(query, (task_id,))[0][0])

    def stuck(self) -> int:
        """How many wait for a lock of the database."""
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database()"
        )
        return int(self.database.fetch(query)[0][0])

    def is_stuck_or(self, done: Future[Any]) -> bool:
        """Whether somebody waits, or has no need to."""
        return done.done() or self.stuck() > 0


@pytest.fixture
def sharers(database: Database) -> Sharers:
    """Two of them."""
    return Sharers(database)


@LETS_GO
def test_a_waiter_is_woken_by_the_last(sharers: Sharers, first: int) -> None:
    """The second leaves before the first has committed, and one of them wakes who waits."""
    waiter = sharers.await_alone()

    with ThreadPoolExecutor() as pool:
        with sharers.database.transaction() as cursor:
            sharers.leave(cursor, first)
            other = pool.submit(sharers.leave_at_once, 1 - first)
            until(lambda: sharers.is_stuck_or(other), "the other to leave, or to wait")
            assert not sharers.is_ready(waiter)
        other.result(30)

    assert sharers.is_ready(waiter)


@LETS_GO
def test_who_comes_while_both_leave_is_let_in(sharers: Sharers, first: int) -> None:
    """Nobody waits when they begin to leave; who comes before they have gone is not left."""
    with ThreadPoolExecutor() as pool:
        with sharers.database.transaction() as cursor:
            sharers.leave(cursor, first)
            # Nobody waits, so they do not wait for each other.
            pool.submit(sharers.leave_at_once, 1 - first).result(30)
            coming = pool.submit(sharers.await_alone)
            until(lambda: sharers.is_stuck_or(coming), "the newcomer to be stored, or to wait")
        waiter = coming.result(30)

    assert sharers.is_ready(waiter)


def test_who_comes_between_their_look_and_their_lock_is_woken(sharers: Sharers) -> None:
    """Both have seen nobody wait when somebody comes; they look again, and one wakes him."""
    left: list[int] = []

    def leave(index: int) -> None:
        with sharers.database.transaction() as cursor:
            sharers.leave(cursor, index)
            left.append(index)
            # Neither is gone before the other has left as well, or waits for the one to be gone.
            until(lambda: len(left) == len(sharers.running) or sharers.stuck() > 0, "the other")

    with ThreadPoolExecutor() as pool:
        with sharers.database.transaction() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (sharers.resource,))
            leaving = [pool.submit(leave, index) for index in (0, 1)]
            until(lambda: sharers.stuck() == len(leaving), "both to have looked")
            waiter = a_task(cursor, {sharers.resource: True})
        for one in leaving:
            one.result(30)

    assert sharers.is_ready(waiter)
