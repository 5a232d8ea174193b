"""What may stand behind the "@" of a served path."""

from datetime import UTC, datetime

import pytest

from entrepot_core.domain.selector import MAX_CHARACTERS, parse_selector

DAY = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("3", 3),
        ("999999999", 999_999_999),
        ("2026-11-01", DAY),
        ("2026-11-01T00:00:00Z", DAY),
        ("2026-11-01t00:00:00z", DAY),
        ("2026-11-01T02:00:00+02:00", DAY),
        ("2026-10-31T19:30:00-04:30", DAY),
        ("2026-11-01T00:00:00.500000000+00:00", DAY.replace(microsecond=500_000)),
    ],
)
def test_a_version_has_few_spellings(text: str, expected: int | datetime) -> None:
    """A number, a day in UTC, or a moment of RFC 3339."""
    assert parse_selector(text) == expected
    assert len(text) <= MAX_CHARACTERS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "+1",
        "03",
        "1_0",
        "1000000000",
        "\u0663",
        "latest",
        "2026-11",
        "2026-W44-7",
        "2026-13-01",
        "2026-02-30",
        "2026-11-01T00:00:00",
        "2026-11-01 00:00:00Z",
        "2026-11-01T00:00Z",
        "2026-11-01T24:00:01Z",
        "2026-11-01T00:00:00+24:00",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "3\n",
    ],
)
def test_nothing_else_names_a_version(text: str) -> None:
    """Nor does what only other programs take for a moment."""
    assert parse_selector(text) is None
