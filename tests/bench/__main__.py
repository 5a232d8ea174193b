"""`make bench`: figures of this machine, each beside its floor, measured in the same run."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import load
import machine
from figure import table
from sections import SECTIONS, measure
from size import QUICK, Size
from stack import Stack


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for, and print it."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("section", nargs="*", choices=[*SECTIONS, []], help="all by default")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample here")
    parser.add_argument("--quick", action="store_true", help="much smaller: does it work?")
    parser.add_argument("--files", type=int, help="of the sync")
    options = parser.parse_args(arguments)
    size = QUICK if options.quick else Size()
    if options.files:
        size = Size(**{**vars(size), "files": options.files})

    facts = machine.describe()
    for name, value in facts.items():
        print(f"{name:<10}{value}")
    print(f"{'client':<10}{load.name()}\n", flush=True)
    with Stack() as stack:
        figures = measure(stack, size, options.section or list(SECTIONS))
        stack.settle()
    facts["load afterwards"] = machine.load()
    print(table(figures))
    print(f"\nload afterwards: {facts['load afterwards']}")
    if options.json:
        document = {"machine": facts, "figures": [figure.as_json() for figure in figures]}
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
