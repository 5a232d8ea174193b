"""Numbers of tasks and locks: exact where they are few, and near where they are many."""

import pytest

from entrepot_core.store import tally
from entrepot_core.store.database import Database
from queues import a_dispatcher, a_plugin, claim, resource_numbers

MANY = """
SELECT submit_task(gen_random_uuid(), 'test', %s, 1, true, false, NULL,
                   ARRAY[%s], ARRAY[true], '{}', 'admin', '', '') FROM generate_series(1, %s)
"""


@pytest.fixture
def queue(database: Database) -> Database:
    """3,000 tasks of two types for two resources, three to one; one of each runs."""
    # A sample may miss what few pages have among those that tests before have left.
    database.fetch("VACUUM FULL task, lock_entry")
    with database.transaction() as cursor:
        a_plugin(cursor)
        resource_numbers(cursor, ["large", "small"])
        cursor.execute(MANY, ("test/many", "large", 2_250))
        cursor.execute(MANY, ("test/few", "small", 750))
        cursor.execute(
            "INSERT INTO task_detail (task_id, principal, parameters_type, parameters)"
            " SELECT task_id, 'admin', '', '' FROM task"
        )
    claim(database, a_dispatcher(database), 2)
    return database


def test_few_are_counted(queue: Database) -> None:
    """Below the bound every number is exact."""
    with queue.transaction() as cursor:
        tasks, locks = tally.tasks(cursor), tally.locks(cursor)

    assert tasks == {
        ("waiting", "test/many"): 2_249,
        ("waiting", "test/few"): 749,
        ("running", "test/many"): 1,
        ("running", "test/few"): 1,
    }
    assert locks == tally.LockTally(held=2, waiting=2_998, queues=2)


def test_many_are_estimated(queue: Database) -> None:
    """Above it they come from some pages, near the truth, and what is few stays exact."""
    with queue.transaction() as cursor:
        tasks = tally.tasks(cursor, counted=100, pages=25)
        again = tally.tasks(cursor, counted=100, pages=25)
        locks = tally.locks(cursor, counted=100, pages=10)

    assert tasks == again
    assert 1_100 < tasks["waiting", "test/many"] < 4_500
    assert 1_500 < tasks["waiting", "test/many"] + tasks["waiting", "test/few"] < 6_000
    assert tasks["running", "test/many"] == 1
    assert (locks.held, locks.queues) == (2, 2)
    assert 1_500 < locks.waiting < 6_000
