"""`make test-faults`: an installation is hurt in every way, and must lose nothing."""

import argparse
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from cells import CELLS, TRIPLES
from installation import Installation
from journal import Journal
from sweep import Sweep

RECORDS = Path(__file__).parents[2] / ".build" / "faults"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a tier, leave a record, and say what did not hold."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("tier", choices=["sweep"])
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--each", type=int, default=20, help="firings of each triple")
    parser.add_argument("--most", type=int, default=100_000, help="firings in all")
    parser.add_argument("--seconds", type=float, default=36_000, help="of the whole run")
    parser.add_argument("--together", type=int, default=4, help="cells played at a time")
    parser.add_argument("--only", default="", help="triples that begin so, such as 'D z'")
    parser.add_argument("--faults", default="", help="letters of the faults; all by default")
    parser.add_argument("--record", type=Path, help="where each injection leaves a line")
    options = parser.parse_args(arguments)
    record = options.record or RECORDS / f"{options.tier}-{options.seed}.jsonl"
    journal = Journal(record, tier=options.tier, seed=options.seed)
    print(f"seed {options.seed}, record {record}", flush=True)
    with Installation() as installation:
        sweep = Sweep(installation, journal, options.seed)
        cells = [
            cell
            for cell in CELLS
            if " ".join(cell.triple).startswith(options.only)
            and cell.fault in (options.faults or cell.fault)
        ]
        sweep.run(
            cells, each=options.each, most=options.most, seconds=options.seconds,
            together=options.together,
        )  # fmt: skip
    print(f"{sweep.fired.total()} injections, {len(sweep.fired)} of {len(TRIPLES)} triples")
    for line in sweep.broken:
        print(f"BROKEN {line}")
    return bool(sweep.broken)


if __name__ == "__main__":
    sys.exit(main())
