"""Progress: often recorded, seldom sent, and the last value always."""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from entrepot.type.v1.progress_pb2 import Progress
from entrepot_sdk._progress import Throttle

if TYPE_CHECKING:
    import asyncio


class Clock:
    """An event loop reduced to its clock, which a test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.planned: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_soon_threadsafe(self, call: Callable[..., None], *args: object) -> None:
        call(*args)

    def call_at(self, when: float, call: Callable[..., None], *args: object) -> None:
        self.planned.append((when, lambda: call(*args)))

    def move_to(self, now: float) -> None:
        self.now = now
        due = [call for when, call in self.planned if when <= now]
        self.planned = [(when, call) for when, call in self.planned if when > now]
        for call in due:
            call()


def throttle() -> tuple[Throttle, Clock, list[tuple[str, int]]]:
    """Make a throttle, its clock, and the list of what it lets through."""
    clock = Clock()
    sent: list[tuple[str, int]] = []
    loop = cast("asyncio.AbstractEventLoop", clock)
    made = Throttle(loop, lambda one: sent.append((one.code, one.done)))
    return made, clock, sent


def test_the_first_value_goes_out_at_once() -> None:
    """People see at once that something has begun."""
    throttled, _, sent = throttle()

    throttled.record(Progress(code="a", done=1))

    assert sent == [("a", 1)]


def test_two_values_a_second_go_out() -> None:
    """Of many values in a second, the first and the latest at each half go out."""
    throttled, clock, sent = throttle()

    for tenth in range(10):
        clock.move_to(tenth / 10)
        throttled.record(Progress(code="a", done=tenth))

    assert sent == [("a", 0), ("a", 4)]


def test_codes_do_not_hold_each_other_back() -> None:
    """Each code has its own allowance."""
    throttled, _, sent = throttle()

    throttled.record(Progress(code="a", done=1))
    throttled.record(Progress(code="b", done=2))

    assert sent == [("a", 1), ("b", 2)]


def test_the_last_value_is_never_lost() -> None:
    """What is held back goes out when the task ends."""
    throttled, _, sent = throttle()

    throttled.record(Progress(code="a", done=1))
    throttled.record(Progress(code="a", done=2))
    throttled.record(Progress(code="a", done=3))
    throttled.flush()

    assert sent == [("a", 1), ("a", 3)]


def test_nothing_goes_out_twice() -> None:
    """A value that was let through early is not sent again when its time comes."""
    throttled, clock, sent = throttle()

    throttled.record(Progress(code="a", done=1))
    throttled.record(Progress(code="a", done=2))
    throttled.flush()
    clock.move_to(1)

    assert sent == [("a", 1), ("a", 2)]
