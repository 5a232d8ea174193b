"""The Range header field."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot_gateway.content.ranges import MAX_RANGES, NotSatisfiableError, parse_ranges


@pytest.mark.parametrize(
    ("header", "ranges"),
    [
        ("bytes=0-9", [(0, 9)]),
        ("bytes=5-", [(5, 99)]),
        ("bytes=-10", [(90, 99)]),
        ("bytes=-1000", [(0, 99)]),
        ("bytes=0-1000", [(0, 99)]),
        ("BYTES = 0-0", [(0, 0)]),
        ("bytes=0-9, 20-29", [(0, 9), (20, 29)]),
        ("bytes=20-29,0-9", [(20, 29), (0, 9)]),
        ("bytes=50-59,0-9,9-20,55-60", [(50, 60), (0, 20)]),
        ("bytes=, 0-1,,\t5-6 ,", [(0, 1), (5, 6)]),
        ("bytes=90-18446744073709551615", [(90, 99)]),
        ("bytes=0-9,5-15,16-20", [(0, 20)]),
        ("bytes=0-9,500-600", [(0, 9)]),
        ("bytes=0-0,-1", [(0, 0), (99, 99)]),
    ],
)
def test_ranges_are_read(header: str, ranges: list[tuple[int, int]]) -> None:
    """Cut to the file, in the order asked, and joined where they touch."""
    assert parse_ranges(header, 100) == ranges


@pytest.mark.parametrize(
    "header",
    [
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=9-0",
        "items=0-1",
        "bytes= ,,",
        "bytes=0--1",
        "bytes=0-1;2-3",
        "bytes=+1-2",
        "bytes=1-2-3",
        "bytes=" + "9" * 30 + "-",
        "bytes=٠-١",
    ],
)
def test_what_is_no_range_is_ignored(header: str) -> None:
    """The whole file is a correct answer to it."""
    assert parse_ranges(header, 100) is None


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=100-", 100), ("bytes=-0", 100), ("bytes=0-", 0)]
)
def test_ranges_outside_cannot_be_satisfied(header: str, size: int) -> None:
    """Not one byte of the file is asked for."""
    with pytest.raises(NotSatisfiableError):
        parse_ranges(header, size)


@pytest.mark.parametrize(
    "header",
    [
        "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 20_000, 2)),
        "bytes=" + ",".join(["0-"] * 10_000),
        "bytes=" + ",".join(["-1"] * 10_000),
        "bytes=" + "0" * 65_536,
        "bytes=" + "0-0," * 16_384,
        "bytes=0-" + " " * 65_536,
    ],
    ids=["many", "overlapping", "suffixes", "digits", "long", "blanks"],
)
def test_many_ranges_cost_nothing(header: str) -> None:
    """Ten thousand ranges, or 64 KiB of them, are turned away within 10 ms."""
    best = min(_milliseconds(header) for _ in range(5))

    assert parse_ranges(header, 10**9) is None
    assert best < 10


def test_a_hundred_ranges_are_the_limit() -> None:
    """As many as are served; one more is the whole file."""
    specs = [f"{n}-{n}" for n in range(0, 2 * MAX_RANGES + 2, 2)]

    assert len(parse_ranges("bytes=" + ",".join(specs[:MAX_RANGES]), 1000) or []) == MAX_RANGES
    assert parse_ranges("bytes=" + ",".join(specs), 1000) is None


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=20))
def test_the_same_bytes_are_asked_for(pairs: list[tuple[int, int]]) -> None:
    """Joining ranges neither adds nor loses a byte, and none is sent twice."""
    specs = [(min(pair), max(pair)) for pair in pairs]
    wanted = {byte for first, last in specs for byte in range(first, last + 1) if byte < 50}
    header = "bytes=" + ",".join(f"{first}-{last}" for first, last in specs)

    try:
        ranges = parse_ranges(header, 50) or []
    except NotSatisfiableError:
        ranges = []

    sent = [byte for first, last in ranges for byte in range(first, last + 1)]
    assert sorted(sent) == sorted(wanted)
    assert len(sent) == len(set(sent))


def _milliseconds(header: str) -> float:
    started = time.perf_counter()
    parse_ranges(header, 10**9)
    return (time.perf_counter() - started) * 1000
