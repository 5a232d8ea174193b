"""Lock queues and claims against real PostgreSQL, checked against the rules they are to keep."""

import pytest

from entrepot_core.domain.errors import AttemptSupersededError, CanceledError
from entrepot_core.domain.task import Loss, State
from entrepot_core.store import queue, tasks, waits
from entrepot_core.store.database import Database
from queues import a_dispatcher, a_plugin, a_task, claim, resource_numbers

CANCELED = CanceledError("Canceled.")


@pytest.fixture
def resources(database: Database) -> list[int]:
    """Numbers of some resources."""
    with database.transaction() as cursor:
        a_plugin(cursor)
        return list(resource_numbers(cursor, [f"r{i}" for i in range(6)]).values())


def state_of(database: Database, task_id: str) -> tuple[str, int]:
    """State of a task, and how many locks it waits for."""
    with database.transaction() as cursor:
        row = tasks.get(cursor, task_id)
    return row.state, row.waits_for


def finish(database: Database, claimed: queue.Claimed) -> None:
    """Completes an attempt."""
    with database.transaction() as cursor:
        queue.finish(
            cursor,
            claimed.workspace_id,
            claimed.task_id,
            queue.Outcome(state=State.COMPLETED, changed=True),
        )


def lose(database: Database, claimed: queue.Claimed, loss: Loss) -> State:
    """Ends an attempt that did not end its task."""
    with database.transaction() as cursor:
        return queue.lose(
            cursor,
            claimed.task_id,
            loss,
            lambda error: error.message.encode(),
            canceled=CANCELED,
            workspace_id=claimed.workspace_id,
        )


def test_shared_locks_go_together_and_an_exclusive_one_waits(
    database: Database, resources: list[int]
) -> None:
    """Two readers run at once; a writer behind them waits, and readers behind the writer too."""
    with database.transaction() as cursor:
        made = [
            a_task(cursor, {resources[0]: exclusive}) for exclusive in (False, False, True, False)
        ]

    assert [0, 0, 1, 1] == [state_of(database, task)[1] for task in made]


def test_a_finish_grants_to_the_next(database: Database, resources: list[int]) -> None:
    """When the writer is done, the run of readers behind it becomes ready."""
    dispatcher = a_dispatcher(database)
    with database.transaction() as cursor:
        made = [a_task(cursor, {resources[0]: exclusive}) for exclusive in (True, False, False)]

    finish(database, claim(database, dispatcher)[0])

    assert made[1:] == [claimed.task_id for claimed in claim(database, dispatcher, 5)]


def test_a_canceled_waiter_lets_the_others_pass(database: Database, resources: list[int]) -> None:
    """Readers behind a canceled writer join the readers before it."""
    with database.transaction() as cursor:
        made = [a_task(cursor, {resources[0]: exclusive}) for exclusive in (False, True, False)]

    with database.transaction() as cursor:
        assert queue.cancel(cursor, made[1], b"canceled") == "waiting"

    assert ("canceled", 1) == state_of(database, made[1])
    assert ("waiting", 0) == state_of(database, made[2])


def test_what_blocks_is_named(database: Database, resources: list[int]) -> None:
    """A waiting task knows who holds its resource and who is before it."""
    with database.transaction() as cursor:
        made = [a_task(cursor, {resources[0]: True}) for _ in range(3)]

        found = waits.of(cursor, [made[2]], counted=True)

    assert [(one.resource, one.task_id, one.is_holder, one.place) for one in found] == [
        ("r0", made[0], True, 2),
        ("r0", made[1], False, 2),
    ]


def test_a_plugin_never_runs_more_than_its_limit(database: Database) -> None:
    """A claim leaves what is over a plugin's limit, and takes what another plugin may run."""
    dispatcher = a_dispatcher(database)
    with database.transaction() as cursor:
        a_plugin(cursor, "small", max_running=2)
        a_plugin(cursor, "large")
        small = [a_task(cursor, plugin="small") for _ in range(5)]
        large = a_task(cursor, plugin="large")

    claimed = {one.task_id for one in claim(database, dispatcher, 10)}

    assert {*small[:2], large} == claimed


def test_a_plugin_that_is_down_gets_nothing(database: Database, resources: list[int]) -> None:
    """Tasks of a plugin that does not answer wait."""
    with database.transaction() as cursor:
        a_task(cursor)
        cursor.execute("UPDATE plugin SET health = 'down' WHERE name = 'test'")

    assert claim(database, a_dispatcher(database), 10) == []


def test_urgent_tasks_go_first(database: Database, resources: list[int]) -> None:
    """Among what is ready, interactive comes before normal before background."""
    with database.transaction() as cursor:
        made = [
            a_task(cursor, priority=one)
            for one in (tasks.BACKGROUND, tasks.NORMAL, tasks.INTERACTIVE)
        ]

    dispatcher = a_dispatcher(database)
    order = [claim(database, dispatcher)[0].task_id for _ in made]

    assert made[::-1] == order


def test_a_busy_repository_does_not_starve_another(
    database: Database, resources: list[int]
) -> None:
    """Ten readers of one resource, then one of another: the last is among the first three."""
    with database.transaction() as cursor:
        for _ in range(10):
            a_task(cursor, {resources[0]: False})
        late = a_task(cursor, {resources[1]: False})

    dispatcher = a_dispatcher(database)

    assert late in [claim(database, dispatcher)[0].task_id for _ in range(3)]


def test_an_attempt_that_was_taken_over_cannot_finish(
    database: Database, resources: list[int]
) -> None:
    """The late finish of a lost attempt changes nothing; the next attempt has a higher number."""
    dispatcher = a_dispatcher(database)
    with database.transaction() as cursor:
        a_task(cursor, {resources[0]: True})
    first = claim(database, dispatcher)[0]
    lose(database, first, Loss("Lost.", is_counted=False))

    with pytest.raises(AttemptSupersededError):
        finish(database, first)

    assert claim(database, dispatcher)[0].attempt == 2


def test_a_counted_loss_waits_and_the_third_fails(
    database: Database, resources: list[int]
) -> None:
    """A counted loss parks the task; the third ends it, and its locks are free."""
    dispatcher = a_dispatcher(database)
    with database.transaction() as cursor:
        task = a_task(cursor, {resources[0]: True})
    states = []
    for _ in range(3):
        states.append(
            lose(database, claim(database, dispatcher)[0], Loss("Lost.", is_counted=True))
        )
        assert claim(database, dispatcher) == []
        with database.transaction() as cursor:
            cursor.execute("UPDATE task SET parked = false WHERE parked")

    assert [State.WAITING, State.WAITING, State.FAILED] == states
    with database.transaction() as cursor:
        assert [1, 2, 3] == [lost.number for lost in tasks.get(cursor, task).lost_attempts]
        cursor.execute("SELECT count(*) FROM lock_entry")
        assert cursor.fetchone() == (0,)


def test_what_must_not_be_repeated_is_not(database: Database, resources: list[int]) -> None:
    """The loss of an attempt that may have acted outside ends the task: its outcome is unknown."""
    with database.transaction() as cursor:
        task = a_task(cursor, is_repeatable=False)
    claimed = claim(database, a_dispatcher(database))[0]
    with database.transaction() as cursor:
        queue.note_execution(cursor, claimed.workspace_id, task)

    state = lose(database, claimed, Loss("Lost.", is_counted=True))

    assert state == State.FAILED
    with database.transaction() as cursor:
        assert b"not known" in (tasks.get(cursor, task).error or b"")


def test_what_was_not_executed_is_repeated(database: Database, resources: list[int]) -> None:
    """An attempt lost before Execute is repeated, also of what must not be; only one may note."""
    with database.transaction() as cursor:
        task = a_task(cursor, is_repeatable=False)
    first = claim(database, a_dispatcher(database))[0]

    assert lose(database, first, Loss("Lost.", is_counted=True, delay_seconds=0)) == State.WAITING
    second = claim(database, a_dispatcher(database))[0]
    with pytest.raises(AttemptSupersededError), database.transaction() as cursor:
        queue.note_execution(cursor, first.workspace_id, task)
    with database.transaction() as cursor:
        queue.note_execution(cursor, second.workspace_id, task)
    assert lose(database, second, Loss("Lost.", is_counted=True)) == State.FAILED


def test_a_lost_attempt_that_was_to_stop_is_canceled(
    database: Database, resources: list[int]
) -> None:
    """A running task with the flag set is not repeated."""
    with database.transaction() as cursor:
        task = a_task(cursor, {resources[0]: True})
    claimed = claim(database, a_dispatcher(database))[0]
    with database.transaction() as cursor:
        assert queue.cancel(cursor, task, b"") == "running"

    assert lose(database, claimed, Loss("Lost.", is_counted=False)) == State.CANCELED


def test_numbers_of_workspaces_outlive_a_crash(database: Database) -> None:
    """The numbers go on after a crash that empties the table, so that none is given twice."""
    rows = database.fetch(
        "SELECT s.relpersistence FROM pg_class s"
        " WHERE s.oid = pg_get_serial_sequence('workspace', 'workspace_id')::regclass"
    )

    assert rows == [("p",)]
