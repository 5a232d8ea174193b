"""`make test-faults`: an installation is hurt in every way, and must lose nothing."""

import argparse
import random
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import clocks
import mounts
from cells import CELLS, TRIPLES
from installation import Installation
from journal import Journal
from power import Power
from recording_disk import missing
from sweep import Sweep
from weather import Weather

RECORDS = Path(__file__).parents[2] / ".build" / "faults"
_LONGEST_SECONDS = 36_000.0
_RECORDED_SECONDS = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a tier, leave a record, and say what did not hold."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("tier", choices=["sweep", "weather", "power"])
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--each", type=int, default=20, help="firings of each triple")
    parser.add_argument("--most", type=int, default=100_000, help="firings in all")
    parser.add_argument("--seconds", type=float, help="of the whole run; of power: recorded")
    parser.add_argument("--together", type=int, default=4, help="cells played at a time")
    parser.add_argument("--only", default="", help="triples that begin so, such as 'D z'")
    parser.add_argument("--faults", default="", help="letters of the faults; all by default")
    parser.add_argument("--seeds", type=int, default=10, help="of the weather")
    parser.add_argument("--storm-seconds", type=float, default=60, help="of each seed")
    parser.add_argument("--storm-faults", type=int, default=16, help="of each seed")
    parser.add_argument("--points", type=int, default=200, help="at which power is cut")
    parser.add_argument("--record", type=Path, help="where each injection leaves a line")
    options = parser.parse_args(arguments)
    record = options.record or RECORDS / f"{options.tier}-{options.seed}.jsonl"
    journal = Journal(record, tier=options.tier, seed=options.seed)
    print(f"seed {options.seed}, record {record}", flush=True)
    tier = {"sweep": _sweep, "weather": _weather, "power": _power}[options.tier]
    broken = tier(options, journal)
    for line in broken:
        print(f"BROKEN {line}")
    return bool(broken)


def _sweep(options: argparse.Namespace, journal: Journal) -> list[str]:
    with Installation() as installation:
        sweep = Sweep(installation, journal, options.seed)
        cells = [
            cell
            for cell in CELLS
            if " ".join(cell.triple).startswith(options.only)
            and cell.fault in (options.faults or cell.fault)
        ]
        sweep.run(
            cells,
            each=options.each,
            most=options.most,
            seconds=options.seconds or _LONGEST_SECONDS,
            together=options.together,
        )
    print(f"{sweep.fired.total()} injections, {len(sweep.fired)} of {len(TRIPLES)} triples")
    return sweep.broken


def _weather(options: argparse.Namespace, journal: Journal) -> list[str]:
    """One seed after another, each on an installation of its own."""
    broken: list[str] = []
    give_up = time.monotonic() + (options.seconds or _LONGEST_SECONDS)
    for seed in range(options.seed, options.seed + options.seeds):
        if time.monotonic() > give_up:
            break
        histories = RECORDS / "histories" / f"{seed}.jsonl"
        histories.parent.mkdir(parents=True, exist_ok=True)
        journal.name_run(tier="weather", seed=seed)
        wrong = dict(clocks.wrong(random.Random(seed))) if clocks.library() else {}  # noqa: S311
        for name, offset in wrong.items():
            journal.write(kind="fault", fault=f"clock of {name} {offset}", fired=1)
        skewed = {name: clocks.environment(offset) for name, offset in wrong.items()}
        with Installation(extra=skewed) as installation:
            weather = Weather(installation, journal, histories, seed)
            weather.run(options.storm_faults, options.storm_seconds)
        print(f"seed {seed}: {weather.fired} faults, {len(weather.broken)} broken", flush=True)
        broken += [f"seed {seed}: {line}" for line in weather.broken]
    return broken


def _power(options: argparse.Namespace, journal: Journal) -> list[str]:
    if reason := missing():
        print(f"NOT RUN: {reason}")
        return []
    mounts.become_private()
    power = Power(journal, options.seed)
    power.run(options.seconds or _RECORDED_SECONDS, options.points)
    print(f"{power.cuts} cuts, {len(power.broken)} broken")
    return power.broken


if __name__ == "__main__":
    sys.exit(main())
