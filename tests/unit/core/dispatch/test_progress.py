"""What is made of the counters that a plugin sends."""

from entrepot.type.v1 import progress_pb2
from entrepot_core.dispatch.pace import Pace
from entrepot_core.dispatch.progress import AttemptProgress

Progress = progress_pb2.Progress
NOW = 1_000_000.0


def taken(pace: Pace, done: int, second: float, remaining: int | None = None) -> Progress:
    """A counter as it is at a second."""
    progress = Progress(done=done, remaining=remaining)
    pace.take(progress, second, NOW + second)
    return progress


def test_the_rate_is_that_of_late() -> None:
    """What was counted in the last half minute counts, and the rest ends at that rate."""
    pace = Pace()
    for second in range(60):
        taken(pace, second if second < 30 else 30 + 4 * (second - 30), second, 40)

    last = taken(pace, 150, 60, 40)

    assert last.rate == 4
    assert last.estimated_end_time.ToSeconds() == NOW + 60 + 10
    assert last.change_time.ToSeconds() == NOW + 60


def test_a_first_value_says_nothing_of_the_rate() -> None:
    """One value has no pace, nor have two at the same instant."""
    pace = Pace()

    assert (taken(pace, 5, 1).rate, taken(pace, 9, 1).rate) == (0, 0)


def test_a_counter_that_stands_still_says_since_when() -> None:
    """The same value again is no movement, and its rate ends."""
    pace = Pace()
    taken(pace, 5, 0)
    for second in range(2, 40):
        taken(pace, 7, second)

    last = taken(pace, 7, 40)
    assert last.change_time.ToSeconds() == NOW + 2
    assert not last.rate


def test_a_counter_that_begins_again_has_no_rate_below_zero() -> None:
    """What was before is forgotten."""
    pace = Pace()
    taken(pace, 1_000, 0)
    taken(pace, 10, 1)

    assert taken(pace, 30, 3).rate == 10


def test_a_rest_that_takes_for_ever_has_no_end() -> None:
    """An end that nobody will see is not told, and breaks no timestamp."""
    pace = Pace()
    taken(pace, 0, 0)

    assert not taken(pace, 1, 10, 2**62).HasField("estimated_end_time")


def test_impossible_counters_are_put_right() -> None:
    """Below zero is zero, a total is never below what is done, and core's fields are core's."""
    progress = AttemptProgress("t", 1)
    progress.count(Progress(code="a", done=-5, total=-7, rate=9))
    progress.count(Progress(code="b", done=12, total=10))

    first, second = progress.counters
    assert (first.done, first.total, first.remaining, first.rate) == (0, 0, 0, 0)
    assert (second.done, second.total, second.remaining) == (12, 12, 0)
