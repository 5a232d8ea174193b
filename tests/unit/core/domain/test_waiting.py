"""How long a task waited, and for what."""

from datetime import UTC, datetime, timedelta

from entrepot_core.domain.waiting import Cause, History, Try, account

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """An instant, by seconds after the task was created."""
    return START + timedelta(seconds=seconds)


def spent(history: History, *outages: tuple[datetime, datetime | None]) -> dict[Cause, float]:
    """Seconds by cause."""
    return {cause: one.total_seconds() for cause, one in account(history, outages).items()}


def test_each_second_has_one_cause() -> None:
    """Locks, an outage, the turn, a back-off and the next turn add up to the time not running."""
    tries = [Try(at(30), at(40), resumes_at=at(50)), Try(at(55))]

    found = spent(History(START, at(10), tries, at(100)), (at(15), at(18)), (at(52), at(53)))

    assert found == {
        Cause.LOCKS: 10,
        Cause.PLUGIN_DOWN: 3 + 1,
        Cause.PLACE: 17 + 4,
        Cause.BACK_OFF: 10,
    }


def test_an_outage_that_lasts_counts_up_to_now() -> None:
    """A plugin that is still down costs the time until now, and none before the locks were had."""
    assert spent(History(START, at(10), [], at(60)), (at(0), None)) == {
        Cause.LOCKS: 10,
        Cause.PLUGIN_DOWN: 50,
    }


def test_a_task_that_waits_for_locks_waits_for_nothing_else() -> None:
    """Without its locks it is not the plugin that it waits for."""
    assert spent(History(START, None, [], at(60)), (at(0), None)) == {Cause.LOCKS: 60}


def test_a_back_off_that_has_not_ended_counts_up_to_now() -> None:
    """The next attempt may start later than now."""
    found = spent(History(START, START, [Try(START, at(1), resumes_at=at(90))], at(11)))

    assert found == {Cause.BACK_OFF: 10}
