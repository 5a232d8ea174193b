"""What has just failed is left alone: the host, or only the file."""

import pytest
from yarl import URL

from entrepot_core.downloads import failure
from entrepot_core.downloads.cooldown import (
    FILE_SECONDS,
    FIRST_SECONDS,
    LONGEST_SECONDS,
    Cooldowns,
)
from entrepot_core.downloads.failure import Failure
from entrepot_core.downloads.remote import Remote
from entrepot_core.downloads.request import Source

REMOTE = Remote(1)
ONE = Source("http://up.test/one", REMOTE)
TWO = Source("http://up.test/two", REMOTE)
ELSEWHERE = Source("http://other.test/one", REMOTE)
OTHER_REMOTE = Source("http://up.test/one", Remote(2))


class Clock:
    """Time that a test lets pass."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The time."""
    return Clock()


@pytest.fixture
def cooldowns(clock: Clock) -> Cooldowns:
    """Nothing has failed yet."""
    return Cooldowns(clock)


def answered(status: int, wait_seconds: float | None = None) -> Failure:
    """A status instead of a file."""
    return failure.of_status(ONE.url, "", status, "", wait_seconds)


def silent() -> Failure:
    """No answer at all."""
    return failure.of_exception(ONE, "", TimeoutError(), URL(ONE.url), answered=False)


def left_alone(cooldowns: Cooldowns, source: Source) -> float | None:
    """For how long a source is not asked."""
    refusal = cooldowns.refusal(source)
    return None if refusal is None else refusal.error.retry_after_seconds


@pytest.mark.parametrize(
    "failed",
    [answered(503), answered(429), silent()],
)
def test_a_host_that_fails_is_left_alone(cooldowns: Cooldowns, failed: Failure) -> None:
    """All its files are, and neither another host nor another remote."""
    cooldowns.failed(ONE, failed)

    assert left_alone(cooldowns, TWO) == FIRST_SECONDS
    assert [left_alone(cooldowns, one) for one in (ELSEWHERE, OTHER_REMOTE)] == [None, None]


@pytest.mark.parametrize("status", [404, 403, 500])
def test_a_file_that_fails_blocks_no_other(cooldowns: Cooldowns, status: int) -> None:
    """And a host that answers so is not down any more."""
    cooldowns.failed(TWO, answered(503))
    cooldowns.failed(ONE, answered(status))

    assert left_alone(cooldowns, ONE) == FILE_SECONDS
    assert left_alone(cooldowns, TWO) is None


def test_one_asks_when_the_time_is_over(cooldowns: Cooldowns, clock: Clock) -> None:
    """The others go on waiting for what becomes of it; each failure takes longer."""
    seconds = []
    for _ in range(5):
        seconds.append(cooldowns.failed(ONE, answered(502)))
        clock.now += seconds[-1]
        assert left_alone(cooldowns, ONE) is None
        assert left_alone(cooldowns, TWO) == seconds[-1]

    assert seconds == [FIRST_SECONDS, 2 * FIRST_SECONDS, 4 * FIRST_SECONDS] + [LONGEST_SECONDS] * 2


def test_success_ends_it(cooldowns: Cooldowns) -> None:
    """One file that comes is enough."""
    cooldowns.failed(ONE, answered(503))
    cooldowns.succeeded(TWO)

    assert left_alone(cooldowns, ONE) is None


def test_what_the_upstream_asks_for_is_kept_to(cooldowns: Cooldowns) -> None:
    """Its Retry-After counts, if it is longer."""
    cooldowns.failed(ONE, answered(503, 45))

    assert left_alone(cooldowns, TWO) == 45


def test_what_is_told_is_nobody_elses(cooldowns: Cooldowns) -> None:
    """Whoever adds to the message of an error changes no other."""
    cooldowns.failed(ONE, answered(503))
    first, second = cooldowns.refusal(ONE), cooldowns.refusal(ONE)
    assert first is not None
    assert second is not None

    first.error.message += " More."

    assert "503" in second.error.message
    assert not second.error.message.endswith("More.")
