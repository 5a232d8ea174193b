"""What an attempt says is written in turns: all of it, once, and the latest last."""

import threading
from contextlib import suppress

import pytest

from entrepot.type.v1.diagnostic_pb2 import Diagnostic
from entrepot.type.v1.log_line_pb2 import LogLine
from entrepot.type.v1.unit_failure_pb2 import UnitFailure
from entrepot_core.dispatch.progress import AttemptProgress
from entrepot_core.store.database import Database
from queues import a_dispatcher, a_plugin, a_task, claim


@pytest.fixture
def progress(database: Database) -> AttemptProgress:
    """What an attempt says that nobody runs."""
    with database.transaction() as cursor:
        a_plugin(cursor)
        a_task(cursor)
    (claimed,) = claim(database, a_dispatcher(database))
    return AttemptProgress(claimed.task_id, claimed.attempt)


def say(progress: AttemptProgress, number: int) -> None:
    """A failure, a warning and a line."""
    progress.fail(UnitFailure(relative_path=f"f{number}", reason="ODD", message="Odd."))
    progress.warn(Diagnostic(message=f"w{number}"))
    progress.log(LogLine(message=f"l{number}"))


def written(database: Database) -> tuple[int, ...]:
    """How many failures are counted and kept, how many warnings, and how many lines."""
    (found,) = database.fetch(
        "SELECT failures, (SELECT count(*) FROM task_failure), cardinality(warnings),"
        " (SELECT count(*) FROM task_log) FROM progress"
    )
    return tuple(found)


def test_what_was_not_committed_is_written_again(
    database: Database, progress: AttemptProgress
) -> None:
    """Nothing is lost with a transaction that is rolled back, and nothing written twice."""
    say(progress, 1)
    with suppress(ZeroDivisionError), progress.turn(), database.transaction() as cursor:
        assert progress.write(cursor)
        say(progress, 2)
        raise ZeroDivisionError

    with progress.turn():
        with suppress(ZeroDivisionError), database.transaction() as cursor:
            assert progress.write(cursor)
            raise ZeroDivisionError
        say(progress, 3)
        with database.transaction() as cursor:
            assert progress.write(cursor)
    with progress.turn(), database.transaction() as cursor:
        assert not progress.write(cursor)

    assert written(database) == (3, 3, 3, 3)


def test_the_latest_is_written_last(database: Database, progress: AttemptProgress) -> None:
    """Who writes what is newer waits until what is older is committed."""
    say(progress, 1)
    ready = threading.Event()

    def write() -> None:
        ready.set()
        with progress.turn(), database.transaction() as cursor:
            progress.write(cursor)

    later = threading.Thread(target=write)
    with progress.turn(), database.transaction() as cursor:
        progress.write(cursor)
        say(progress, 2)
        later.start()
        assert ready.wait(10)
        with progress.turn(waits=False) as is_ours:
            assert not is_ours
    later.join(10)

    assert written(database) == (2, 2, 2, 2)
