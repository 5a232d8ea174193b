"""The short form of the power cut: a few seconds of work, and what is left of them."""

from contextlib import closing
from pathlib import Path

import pytest

import mounts
from journal import Journal, read
from power import Power
from recording_disk import missing

pytestmark = pytest.mark.timeout(600)

SEED = 4
POINTS = 10


def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Wherever the power is cut, what clients were told is there, and all bytes are right."""
    if reason := missing():
        pytest.skip(f"no disk can be recorded: {reason}")
    mounts.become_private()
    record = tmp_path / "record.jsonl"
    with closing(Journal(record, tier="power", seed=SEED)) as journal:
        power = Power(journal, SEED)
        power.run(seconds=4, points=POINTS)

    assert power.broken == []
    assert power.cuts == POINTS
    cuts = [line for line in read([record]) if line["kind"] == "cut"]
    assert any(line["lost"] for line in cuts), "no cut has lost anything"
