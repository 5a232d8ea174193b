"""Lines that an attempt writes for people."""

from entrepot.type.v1.log_line_pb2 import LogLine
from entrepot_core.dispatch.log_lines import MAX_LINES, MAX_TEXT, LogLines


def test_of_very_many_lines_the_first_are_kept() -> None:
    """Whatever a plugin writes, a bounded number is kept, and the rest is counted."""
    lines = LogLines(2)
    for number in range(MAX_LINES + 500):
        lines.add(LogLine(message=f"line {number}"))

    taken = lines.take()

    assert len(taken) == MAX_LINES + 1
    assert (taken[0].attempt, taken[0].number, taken[0].message) == (2, 1, "line 0")
    assert taken[-1].message == "500 more lines are left out: of an attempt, 1,000 are kept."
    lines.add(LogLine(message="another"))
    (last,) = lines.take()
    assert (last.number, last.message[:3]) == (MAX_LINES + 1, "501")


def test_a_line_is_one_line_of_a_bounded_length_without_secrets() -> None:
    """Ten megabytes are cut off, breaks are spaces, and what looks like a secret is gone."""
    lines = LogLines(1)
    lines.add(LogLine(message="x" * 10_000_000, level=LogLine.LEVEL_ERROR))
    lines.add(LogLine(message="GET https://me:geheim@host/\n\0 Bearer abcdef", level=99))  # type: ignore[arg-type]

    long, other = lines.take()

    assert (len(long.message), long.message[-1], long.level) == (
        MAX_TEXT,
        "…",
        LogLine.LEVEL_ERROR,
    )
    assert "geheim" not in other.message
    assert "abcdef" not in other.message
    assert "\n" not in other.message
    assert "\0" not in other.message
    assert other.level == LogLine.LEVEL_INFO
    assert not lines.take()
