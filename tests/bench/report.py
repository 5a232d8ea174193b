"""Puts the figures of a run into the page that shows them: `report.py figures.json page.md`.

What stands between the two marks of the page is replaced; the rest is written by people.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

_TITLES = {
    "memory": "Memory, idle",
    "growth": "Memory of a sync",
    "sync": "Syncs",
    "versions": "Versions",
    "tasks": "Tasks",
    "peer": "The same tasks with Pulp",
    "uploads": "Uploads",
    "content": "Serving",
    "survival": "Killed programs",
}


def main(arguments: Sequence[str]) -> None:
    """Write the figures into the page."""
    figures, page = map(Path, arguments)
    text = page.read_text()
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        sys.exit(f"{page} has no place for figures: {BEGIN} … {END}")
    new = "\n".join(report(json.loads(figures.read_text())))
    page.write_text(f"{before}{BEGIN}\n\n{new}\n{END}{after}")


def report(document: dict[str, Any]) -> Iterator[str]:
    """Yield the lines: about the machine, then a table for each section."""
    machine = document["machine"]
    yield (
        f"Measured on a machine with {machine['cores']} cores and {machine['memory']} of memory, "
        f"with Python {machine['python']}."
    )
    yield f"Its load was {machine['load']} before and {machine['load afterwards']} after."
    yield ""
    for section, figures in groupby(document["figures"], key=lambda figure: figure["section"]):
        yield f"### {_TITLES.get(section, section.capitalize())}"
        yield ""
        yield "| | measured | floor | ratio | target | met | the floor is |"
        yield "|---|---|---|---|---|---|---|"
        yield from map(_row, figures)
        yield ""


def _row(figure: dict[str, Any]) -> str:
    value, floor = figure["value"], figure["floor"]
    cells = (
        figure["what"].strip(),
        _amount(value, figure),
        "" if floor is None else _amount(floor, figure),
        f"{figure['ratio']:.2f}" if figure["ratio"] else "",
        figure["target"] or "",
        {None: "", True: "yes", False: "**no**"}[figure["is_met"]],
        figure["floor_is"],
    )
    return "| " + " | ".join(cells) + " |"


def _amount(value: float, figure: dict[str, Any]) -> str:
    return f"{value:,.{figure['digits']}f} {figure['unit']}"


if __name__ == "__main__":
    main(sys.argv[1:])
