"""What becomes of a task whose attempt was lost."""

import pytest

from entrepot_core.domain.errors import DownloadFailedError
from entrepot_core.domain.task import Loss, State, judge

LOST = Loss("Lost.", is_counted=True)


@pytest.mark.parametrize(("before", "delay"), [(0, 1.0), (1, 10.0)])
def test_counted_losses_wait_longer_each_time(before: int, delay: float) -> None:
    """The first two counted losses are repeated, after one second and after ten."""
    verdict = judge(LOST, may_repeat=True, counted_before=before)

    assert (delay, None) == (verdict.delay_seconds, verdict.error)


def test_the_third_counted_loss_ends_the_task() -> None:
    """Three attempts are all; the error says how many and why the last was lost."""
    verdict = judge(LOST, may_repeat=True, counted_before=2)

    assert verdict.error is not None
    assert verdict.error.reason == "ATTEMPT_LOST"
    assert verdict.error.metadata == {"attempts": "3"}


def test_the_last_loss_gives_its_own_error() -> None:
    """A task that failed three times for a passing reason ends with that reason."""
    error = DownloadFailedError("Upstream is down.")
    loss = Loss("Upstream is down.", is_counted=True, error=error)

    assert judge(loss, may_repeat=True, counted_before=2).error is error


def test_uncounted_losses_are_repeated_for_ever() -> None:
    """What is nobody's fault does not use up attempts."""
    loss = Loss("Full.", is_counted=False, delay_seconds=5)

    verdict = judge(loss, may_repeat=True, counted_before=2)

    assert (5, None) == (verdict.delay_seconds, verdict.error)


def test_what_must_not_be_repeated_is_unknown() -> None:
    """The loss of an attempt that may have acted outside is not called a failure."""
    verdict = judge(LOST, may_repeat=False, counted_before=0)

    assert verdict.error is not None
    assert verdict.error.reason == "OUTCOME_UNKNOWN"


def test_what_never_ran_may_start_again() -> None:
    """If the plugin cannot have done anything, also what must not be repeated waits."""
    loss = Loss("Refused.", is_counted=False, delay_seconds=2, never_ran=True)

    assert judge(loss, may_repeat=False, counted_before=0).error is None


def test_terminal_states() -> None:
    """Three of the five states are final."""
    assert {State.COMPLETED, State.FAILED, State.CANCELED} == {s for s in State if s.is_terminal}
