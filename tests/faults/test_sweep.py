"""The short form of the sweep: every failpoint there is kills its process once."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cells import CELLS
from entrepot_rpc import failpoints
from injuries import swallow
from installation import Installation
from journal import Journal
from sweep import Sweep

pytestmark = pytest.mark.timeout(600)

SEED = 1


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    """One for both, as it is one for all cells of a long run."""
    with Installation() as installation:
        yield installation


def test_a_kill_loses_nothing(installation: Installation, tmp_path: Path) -> None:
    """Wherever one dies, its work ends in one completed task and one version."""
    kills = [cell for cell in CELLS if cell.instant and cell.action == "kill"]
    first = {cell.instant: cell for cell in reversed(kills)}
    assert set(first) == set(failpoints.NAMES), "a failpoint has no cell in tests/faults/cells.py"

    journal = closing(Journal(tmp_path / "record.jsonl", tier="sweep", seed=SEED))
    with journal as record:
        sweep = Sweep(installation, record, SEED)
        sweep.once(list(first.values()), together=6)

    assert sweep.broken == []


def test_who_is_slow_stopped_or_cut_off_loses_nothing(
    installation: Installation, tmp_path: Path
) -> None:
    """Zombies, lost replies, cut connections and ended sessions change no outcome."""
    wanted = ("D z p3", "D z p6", "A d p1", "A d p4", "D d p6", "A n p1", "D n p6", "A f p4",
              "D f p6", "P n p4", "U h p5", "G n p7")  # fmt: skip
    chosen = [next(cell for cell in CELLS if " ".join(cell.triple) == one) for one in wanted]
    # A dispatcher that nobody can tell from a living one, in the middle of a claim.
    chosen.append(next(cell for cell in CELLS if cell.injury is swallow))

    journal = closing(Journal(tmp_path / "record.jsonl", tier="sweep", seed=SEED))
    with journal as record:
        sweep = Sweep(installation, record, SEED)
        sweep.once(chosen, together=6)

    assert sweep.broken == []
