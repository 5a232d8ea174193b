"""Instants and lengths of time as people read them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from entrepot_core.domain.words import instant, length


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "less than 1 s"), (0.9, "less than 1 s"), (59, "59 s"), (61, "1 min 1 s"),
     (3_600, "1 h"), (3_605, "1 h"), (93_784, "1 d 2 h")],
)  # fmt: skip
def test_a_length_has_two_units(seconds: float, text: str) -> None:
    """The two largest units that follow each other, whole."""
    assert text == length(timedelta(seconds=seconds))


def test_an_instant_is_told_in_utc() -> None:
    """Whatever the zone it came in."""
    moment = datetime(2026, 1, 2, 5, 4, 5, tzinfo=timezone(timedelta(hours=2)))

    assert instant(moment) == "2026-01-02 03:04:05 UTC" == instant(moment.astimezone(UTC))
