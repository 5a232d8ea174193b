"""The short form of the weather: a few random faults under load."""

from contextlib import closing
from pathlib import Path

import pytest

from installation import Installation
from journal import Journal
from weather import Weather

pytestmark = pytest.mark.timeout(600)

SEED = 3


def test_random_faults_under_load_lose_nothing(tmp_path: Path) -> None:
    """What was acknowledged is there, once and in order, and every follower was told it."""
    journal = closing(Journal(tmp_path / "record.jsonl", tier="weather", seed=SEED))
    with journal as record, Installation() as installation:
        weather = Weather(installation, record, tmp_path / "history.jsonl", SEED)
        weather.run(faults=5, seconds=8)

    assert weather.broken == []
    assert weather.fired == 5
