"""Lengths of time as people write them."""

import pytest

from entrepot_rpc.duration import parse_nanos


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("30s", 30 * 10**9),
        ("30", 30 * 10**9),
        ("1500ms", 15 * 10**8),
        ("10m", 6 * 10**11),
        ("0.5h", 18 * 10**11),
    ],
)
def test_lengths_of_time_have_units(text: str, nanos: int) -> None:
    """Seconds, unless another unit is named."""
    assert parse_nanos(text) == nanos


@pytest.mark.parametrize("text", ["", "soon", "-3s", "1e3", "3 weeks"])
def test_what_is_no_length_is_refused(text: str) -> None:
    """The error says how to write one."""
    with pytest.raises(ValueError, match="write 30s"):
        parse_nanos(text)
