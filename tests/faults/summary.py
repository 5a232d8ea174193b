"""Writes docs/reference/faults.md from run records.

python tests/faults/summary.py RECORD… > docs/reference/faults.md
"""

import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from cells import TRIPLES
from journal import read

COVERED = 20
PROCESSES = {
    "A": "api", "D": "dispatcher", "L": "downloads in core", "P": "plugin", "G": "gateways",
    "Q": "PostgreSQL", "U": "upstream", "H": "all at once",
}  # fmt: skip
FAULTS = {
    "k": "kill -9", "z": "stopped and woken", "n": "connections cut", "s": "slow",
    "e": "error of the disk", "f": "sessions ended by the database", "d": "reply lost",
    "h": "hostile answers", "o": "asked to end",
}  # fmt: skip
PHASES = {
    "p1": "create", "p3": "claim", "p4": "execute", "p5": "bytes", "p6": "commit",
    "p7": "after the commit", "p8": "serve", "p9": "upload", "p11": "take over, cancel",
}  # fmt: skip


def page(lines: list[dict[str, Any]]) -> str:
    """The page, in Markdown."""
    cells = [line for line in lines if line["kind"] == "cell"]
    fired: Counter[tuple[str, str, str]] = Counter()
    instants: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for one in cells:
        triple = (one["process"], one["fault"], one["phase"])
        fired[triple] += one["fired"]
        instants[triple].add(one["instant"] or one["action"])
    covered = [triple for triple in TRIPLES if fired[triple] >= COVERED]
    broken = [wrong for one in lines for wrong in one.get("wrong", []) + one.get("found", [])]
    checks = [line for line in lines if line["kind"] == "check"]
    return "\n".join(
        [
            "# What was hurt, and what held",
            "",
            "This page is made from run records, by `tests/faults/summary.py`.",
            "[Check an installation](../how-to/check-an-installation.md) says how to run it.",
            "",
            *_facts(lines, cells, checks, covered, broken, fired),
            "",
            "A triple counts as covered once it was fired 20 times.",
            "",
            "| Who | Fault | Phase | Fired | At |",
            "|---|---|---|---:|---|",
            *(_row(triple, fired[triple], instants[triple]) for triple in TRIPLES),
            "",
        ]
    )


def _facts(
    lines: list[dict[str, Any]],
    cells: list[dict[str, Any]],
    checks: list[dict[str, Any]],
    covered: list[tuple[str, str, str]],
    broken: list[str],
    fired: Counter[tuple[str, str, str]],
) -> list[str]:
    statuses: Counter[str] = Counter()
    for one in checks:
        statuses.update(one["statuses"])
    lost = Counter(len(one["lost"]) for one in cells if one["state"])
    takeovers = sorted(one["takeover_seconds"] for one in cells if "takeover_seconds" in one)
    states = Counter(one["state"] for one in cells if one["state"])
    runs = sorted({(one["tier"], one["seed"], one["commit"]) for one in lines})
    facts = {
        "Faults fired": f"{fired.total():,}",
        "Triples": f"{len(TRIPLES)}, of which {len(covered)} are covered",
        "Invariants that were broken": str(len(broken)),
        "Tasks": ", ".join(f"{count:,} {state}" for state, count in states.most_common()),
        "Lost attempts of a task": ", ".join(
            f"{number}: {count:,} tasks" for number, count in sorted(lost.items())
        ),
        "Checks of the whole installation": str(len(checks)),
        "Answers to clients": ", ".join(
            f"{status}: {count:,}" for status, count in sorted(statuses.items())
        ),
        "Runs": "; ".join(f"{tier}, seed {seed}, at {commit}" for tier, seed, commit in runs),
    }
    if takeovers:
        middle, worst = takeovers[len(takeovers) // 2], takeovers[-1]
        facts["Until a stopped dispatcher's attempt was taken over"] = (
            f"{middle:g} s median, {worst:g} s at worst, on a busy machine"
        )
    return ["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in facts.items())]


def _row(triple: tuple[str, str, str], fired: int, instants: set[str]) -> str:
    process, fault, phase = triple
    who = " and ".join(PROCESSES[letter] for letter in process.split("+"))
    at = ", ".join(f"`{one}`" for one in sorted(instants)) or "–"
    return f"| {who} | {FAULTS[fault]} | {PHASES[phase]} | {fired} | {at} |"


if __name__ == "__main__":
    sys.stdout.write(page(read([Path(name) for name in sys.argv[1:]])))
