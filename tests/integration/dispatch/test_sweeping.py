"""What the sweeper makes good: dead dispatchers, crashes, back-off, removed plugins."""

from collections.abc import Iterator

import pytest

from entrepot_core.dispatch.sweeper import Sweeper
from entrepot_core.domain.errors import CanceledError
from entrepot_core.domain.task import Loss
from entrepot_core.store import dispatchers, queue, tasks
from entrepot_core.store.database import Database
from entrepot_core.store.engine_check import check_engine
from entrepot_core.store.session import HeldSession
from polling import until
from queues import a_dispatcher, a_plugin, a_task, claim, resource_numbers


@pytest.fixture
def plugin(database: Database) -> Iterator[None]:
    """A plugin "test" that serves."""
    with database.transaction() as cursor:
        a_plugin(cursor)
    yield
    assert list(check_engine(database)) == []


def sweep(database: Database) -> int:
    """Sweeps once; returns how often it woke the others."""
    woken: list[None] = []
    Sweeper(database, lambda: woken.append(None)).step()
    return len(woken)


def age_dispatcher(database: Database, dispatcher: int, seconds: float) -> None:
    """Makes the last beat of a dispatcher older, and the server up for long."""
    with database.transaction() as cursor:
        cursor.execute(
            "UPDATE dispatcher SET beat_at = beat_at - make_interval(secs => %s)"
            " WHERE dispatcher_id = %s",
            (seconds, dispatcher),
        )


def is_up_for_long(database: Database) -> bool:
    """Whether the server has been up for longer than a dispatcher may be silent."""
    return bool(
        database.fetch("SELECT now() - pg_postmaster_start_time() > interval '7 seconds'")[0][0]
    )


def state_of(database: Database, task_id: str) -> str:
    """State of a task."""
    with database.transaction() as cursor:
        return tasks.get(cursor, task_id).state


@pytest.mark.usefixtures("plugin")
def test_a_dead_dispatcher_is_taken_over(database: Database) -> None:
    """Without a session for a moment: its attempt is lost and counted, its task ready."""
    until(lambda: is_up_for_long(database), "the server to be up for long")
    with database.transaction() as cursor:
        task = a_task(cursor)
    claim(database, a_dispatcher(database))
    woken: list[None] = []
    sweeper = Sweeper(database, lambda: woken.append(None))

    sweeper.step()
    assert (state_of(database, task), woken) == ("running", [])
    until(lambda: bool(sweeper.step() and woken), "the moment to be over", 5)

    with database.transaction() as cursor:
        row = tasks.get(cursor, task)
        assert (row.state, row.parked) == ("waiting", False)
        assert [(lost.number, lost.is_counted) for lost in row.lost_attempts] == [(1, True)]
        assert dispatchers.alive(cursor) == []


@pytest.mark.usefixtures("plugin")
def test_a_dispatcher_that_holds_its_lock_is_left(database: Database) -> None:
    """A late beat alone is no death, as long as the session lives."""
    until(lambda: is_up_for_long(database), "the server to be up for long")
    with database.transaction() as cursor:
        task = a_task(cursor)
    session = HeldSession(database.url, "test")
    dispatcher = session.run(lambda cursor: dispatchers.register(cursor, "test", 1))
    claim(database, dispatcher)
    age_dispatcher(database, dispatcher, 10)

    sweep(database)
    assert state_of(database, task) == "running"

    # But not for ever: a stopped process holds its lock and does nothing.
    age_dispatcher(database, dispatcher, 60)
    sweep(database)
    assert state_of(database, task) == "waiting"
    session.close()


@pytest.mark.usefixtures("plugin")
def test_a_task_without_workspace_is_ready_again_uncounted(database: Database) -> None:
    """After a crash of the database, which empties unlogged tables, tasks run again."""
    with database.transaction() as cursor:
        task = a_task(cursor)
        once = a_task(cursor, is_repeatable=False)
        not_begun = a_task(cursor, is_repeatable=False)
    claimed = claim(database, a_dispatcher(database), 3)
    (workspace_id,) = [one.workspace_id for one in claimed if one.task_id == once]
    with database.transaction() as cursor:
        queue.note_execution(cursor, workspace_id, once)
    with database.transaction() as cursor:
        cursor.execute("TRUNCATE workspace")

    sweep(database)

    with database.transaction() as cursor:
        row = tasks.get(cursor, task)
        assert (row.state, [lost.is_counted for lost in row.lost_attempts]) == ("waiting", [False])
        assert tasks.get(cursor, once).state == "failed"
        assert tasks.get(cursor, not_begun).state == "waiting"


@pytest.mark.usefixtures("plugin")
def test_back_off_ends(database: Database) -> None:
    """A parked task is ready again when its time has come, and not before."""
    with database.transaction() as cursor:
        task = a_task(cursor)
    claimed = claim(database, a_dispatcher(database))[0]
    with database.transaction() as cursor:
        queue.lose(
            cursor,
            task,
            Loss("Full.", is_counted=False, delay_seconds=3600),
            lambda error: error.message.encode(),
            canceled=CanceledError("Canceled."),
            workspace_id=claimed.workspace_id,
        )

    sweep(database)
    assert claim(database, a_dispatcher(database)) == []

    with database.transaction() as cursor:
        cursor.execute("UPDATE task SET not_before = clock_timestamp()")
    sweep(database)
    assert [one.task_id for one in claim(database, a_dispatcher(database))] == [task]


@pytest.mark.usefixtures("plugin")
def test_tasks_of_a_removed_plugin_fail(database: Database) -> None:
    """Who waits for a plugin that was removed is told so."""
    with database.transaction() as cursor:
        task = a_task(cursor)
        cursor.execute("UPDATE plugin SET is_removed = true WHERE name = 'test'")

    sweep(database)

    assert state_of(database, task) == "failed"


@pytest.mark.usefixtures("plugin")
def test_a_lost_grant_is_made_good(database: Database) -> None:
    """A resource that somebody waits for and nobody holds is granted."""
    with database.transaction() as cursor:
        (resource,) = resource_numbers(cursor, ["r"]).values()
        first, second = a_task(cursor, {resource: True}), a_task(cursor, {resource: True})
    with database.transaction() as cursor:
        cursor.execute("DELETE FROM lock_entry WHERE task_id = %s::uuid", (first,))
        cursor.execute(
            "UPDATE task SET state = 'canceled', ended_at = now() WHERE task_id = %s::uuid",
            (first,),
        )

    assert [one.invariant for one in check_engine(database)][:1] == ["I4"]
    sweep(database)

    assert [one.task_id for one in claim(database, a_dispatcher(database))] == [second]


@pytest.mark.usefixtures("plugin")
def test_what_waits_long_ages(database: Database) -> None:
    """A background task that has been ready for long moves up a class."""
    with database.transaction() as cursor:
        a_task(cursor, priority=tasks.BACKGROUND)
        cursor.execute("UPDATE task SET ready_at = ready_at - interval '11 minutes'")

    sweep(database)

    assert database.fetch("SELECT class FROM task") == [(tasks.NORMAL,)]
