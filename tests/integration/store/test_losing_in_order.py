"""A lost attempt whose task is to stop: it never holds the task while it waits for resources."""

from concurrent.futures import ThreadPoolExecutor

import psycopg2.errors
import pytest

from entrepot_core.domain.errors import CanceledError
from entrepot_core.domain.task import Loss, State
from entrepot_core.store import queue
from entrepot_core.store.database import Cursor, Database
from polling import until
from queues import a_dispatcher, a_plugin, a_task, claim, resource_numbers


class Lost:
    """A task that holds a resource, and whose attempt is about to be lost."""

    def __init__(self, database: Database) -> None:
        self.database = database
        with database.transaction() as cursor:
            a_plugin(cursor)
            self.resource = resource_numbers(cursor, ["wanted"])["wanted"]
            a_task(cursor, {self.resource: True})
        (self.running,) = claim(database, a_dispatcher(database))

    def lose(self) -> State:
        """Its attempt ends, and may be repeated."""
        with self.database.transaction() as cursor:
            return queue.lose(
                cursor,
                self.running.task_id,
                Loss("Its dispatcher died.", is_counted=False),
                lambda error: error.message.encode(),
                canceled=CanceledError("Canceled."),
                workspace_id=self.running.workspace_id,
            )

    def cancel(self, cursor: Cursor) -> str | None:
        """Somebody asks for it to stop, in a transaction that is open; the state it had."""
        return queue.cancel(cursor, self.running.task_id, b"canceled")

    def cancel_at_once(self) -> str | None:
        """The same, committed."""
        with self.database.transaction() as cursor:
            return self.cancel(cursor)

    def wait_until_stuck(self, count: int) -> None:
        """Until so many wait for locks of the database."""
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database()"
        )
        until(lambda: self.database.fetch(query) == [(count,)], f"{count} to wait")

    def is_free(self) -> bool:
        """Whether nobody holds the row of the task."""
        try:
            self.database.fetch(
                "SELECT FROM task WHERE task_id = %s::uuid FOR NO KEY UPDATE NOWAIT",
                (self.running.task_id,),
            )
        except psycopg2.errors.LockNotAvailable:
            return False
        return True


@pytest.fixture
def lost(database: Database) -> Lost:
    """One of them."""
    return Lost(database)


def test_the_loss_of_a_canceled_task_waits_without_its_row(lost: Lost) -> None:
    """Who cancels it once more has the resource and gets the task: no deadlock."""
    lost.cancel_at_once()

    with ThreadPoolExecutor() as pool:
        with lost.database.transaction() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (lost.resource,))
            losing = pool.submit(lost.lose)
            lost.wait_until_stuck(1)
            assert lost.is_free()
            assert lost.cancel(cursor) == "running"

        assert losing.result(30) == State.CANCELED


def test_a_loss_that_waited_for_the_row_does_not_keep_it(lost: Lost) -> None:
    """It comes after one who cancels and before another: all three get what they want."""
    with ThreadPoolExecutor() as pool:
        with lost.database.transaction() as cursor:
            lost.cancel(cursor)
            losing = pool.submit(lost.lose)
            lost.wait_until_stuck(1)
            again = pool.submit(lost.cancel_at_once)
            lost.wait_until_stuck(2)

        assert losing.result(30) == State.CANCELED
        assert again.result(30) in {"running", "canceled"}
