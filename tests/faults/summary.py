"""Writes docs/reference/faults.md from run records.

python tests/faults/summary.py RECORD… > docs/reference/faults.md
"""

import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import cells
import power
from journal import read

COVERED = 20
TRIPLES = tuple(sorted({*cells.TRIPLES, *power.TRIPLES}))
Triple = tuple[str, str, str]
PROCESSES = {
    "A": "api", "D": "dispatcher", "L": "downloads in core", "P": "plugin", "G": "gateways",
    "Q": "PostgreSQL", "U": "upstream", "H": "all at once",
}  # fmt: skip
FAULTS = {
    "k": "kill -9", "z": "stopped and woken", "n": "connections cut", "s": "slow",
    "e": "error of the disk", "f": "sessions ended by the database", "d": "reply lost",
    "h": "hostile answers", "o": "no memory", "q": "asked to end",
    "t": "power cut",
}  # fmt: skip
PHASES = {
    "p1": "create", "p2": "ready", "p3": "claim", "p4": "execute", "p5": "bytes", "p6": "commit",
    "p7": "after the commit", "p8": "serve", "p9": "upload", "p10": "collect",
    "p11": "take over, cancel", "p12": "start and stop",
}  # fmt: skip


def page(lines: list[dict[str, Any]]) -> str:
    """The page, in Markdown."""
    swept = [line for line in lines if line["kind"] == "cell"]
    storms = [line for line in lines if line["kind"] == "weather"]
    fired: Counter[Triple] = Counter()
    instants: dict[Triple, set[str]] = defaultdict(set)
    for one in lines:
        for triple, at in _triples(one):
            fired[triple] += one["fired"]
            instants[triple] |= at
    covered = [triple for triple in TRIPLES if fired[triple] >= COVERED]
    checks = [line for line in lines if line["kind"] == "check"]
    return "\n".join(
        [
            "# What was hurt, and what held",
            "",
            "This page is made from run records, by `tests/faults/summary.py`.",
            "The invariants are in [check an installation](../how-to/check-an-installation.md).",
            "",
            *_facts(swept, checks, covered),
            "",
            *_weather(storms, sum(line["kind"] == "fault" for line in lines)),
            *_power(lines),
            "## States of the code",
            "",
            "Only what was fired at one and the same state says that all of it holds together.",
            "",
            *_states(lines),
            "",
            "## Runs",
            "",
            "A run in which something broke stays in this table.",
            "",
            *_runs(lines),
            "",
            "## Triples",
            "",
            "A triple counts as covered once it was fired 20 times.",
            "",
            "| Who | Fault | Phase | Fired | At |",
            "|---|---|---|---:|---|",
            *(_row(triple, fired[triple], instants[triple]) for triple in TRIPLES),
            "",
        ]
    )


def _triples(line: dict[str, Any]) -> list[tuple[Triple, set[str]]]:
    """What an injection was, and at which instants; a power cut is one in each phase under way."""
    if line["kind"] == "cell":
        at = {line["instant"] or line["action"]}
        return [((line["process"], line["fault"], line["phase"]), at)]
    if line["kind"] == "cut":
        return [
            (
                (line["process"], line["fault"], phase),
                {one for one in line["instants"] if power.phase_of(one) == phase},
            )
            for phase in line["phases"]
        ]
    return []


def _facts(
    swept: list[dict[str, Any]], checks: list[dict[str, Any]], covered: list[Triple]
) -> list[str]:
    statuses: Counter[str] = Counter()
    for one in checks:
        statuses.update(one["statuses"])
    lost = Counter(len(one["lost"]) for one in swept if one["state"])
    takeovers = sorted(one["takeover_seconds"] for one in swept if "takeover_seconds" in one)
    states = Counter(one["state"] for one in swept if one["state"])
    facts = {
        "Faults of the sweep": f"{sum(one['fired'] for one in swept):,}",
        "Triples": f"{len(TRIPLES)}, of which {len(covered)} are covered",
        "Tasks": ", ".join(f"{count:,} {state}" for state, count in states.most_common()),
        "Lost attempts of a task": ", ".join(
            f"{number}: {count:,} tasks" for number, count in sorted(lost.items())
        ),
        "Checks of the whole installation": str(len(checks)),
        "Answers to clients": ", ".join(
            f"{status}: {count:,}" for status, count in sorted(statuses.items())
        ),
    }
    if takeovers:
        middle, worst = takeovers[len(takeovers) // 2], takeovers[-1]
        facts["Until a stopped dispatcher's attempt was taken over"] = (
            f"{middle:g} s median, {worst:g} s at worst, on a busy machine"
        )
    return ["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in facts.items())]


def _weather(storms: list[dict[str, Any]], faults: int) -> list[str]:
    """What came of random faults under load; nothing if there were none."""
    if not storms:
        return []
    told = {
        "Seeds": len(storms),
        "Faults": faults,
        "Changes of shared repositories, each replayed against the chain of versions": "changes",
        "Syncs, uploads and additions to repositories of their own": "works",
        "Events that each of three followers was told, over broken streams": "events",
        "Reads of a published file, ten a second": "served",
    }
    rows = [
        (name, sum(one[what] for one in storms) if isinstance(what, str) else what)
        for name, what in told.items()
    ]
    return [
        "## Weather",
        "",
        "Random faults hurt programs and connections while clients work and check themselves.",
        "",
        "| | |",
        "|---|---:|",
        *(f"| {name} | {count:,} |" for name, count in rows),
        "",
    ]


def _power(lines: list[dict[str, Any]]) -> list[str]:
    """What came of power cuts; nothing if there were none."""
    cuts = [line for line in lines if line["kind"] == "cut"]
    recordings = [line for line in lines if line["kind"] == "recording"]
    if not cuts:
        return []
    rows = {
        "Recordings of a disk": len(recordings),
        "Flushes": sum(one["flushes"] for one in recordings),
        "Writes": sum(one["writes"] for one in recordings),
        "Facts that clients were told": sum(one["facts"] for one in recordings),
        "Events that a follower was told": sum(one["events"] for one in recordings),
        "Cuts": len(cuts),
        "Cuts after which everything was started": sum(one["whole"] for one in cuts),
        "Writes after the last flush that were kept": sum(one["kept"] for one in cuts),
        "… lost": sum(one["lost"] for one in cuts),
        "… torn": sum(one["torn"] for one in cuts),
    }
    return [
        "## Power cuts",
        "",
        "A disk is recorded while clients work, and made anew as a power cut may have left it.",
        "",
        "| | |",
        "|---|---:|",
        *(f"| {name} | {count:,} |" for name, count in rows.items()),
        "",
    ]


def _states(lines: list[dict[str, Any]]) -> list[str]:
    rows = [
        "| Code | Runs | Fired | Triples | Covered | Broken |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for code in dict.fromkeys(one["commit"] for one in sorted(lines, key=lambda one: one["at"])):
        told = [one for one in lines if one["commit"] == code]
        fired: Counter[Triple] = Counter()
        for one in told:
            for triple, _ in _triples(one):
                fired[triple] += one["fired"]
        rows.append(
            f"| {code} | {len({one['seed'] for one in told})}"
            f" | {sum(one.get('fired', 0) for one in told):,}"
            f" | {len(+fired)} | {sum(count >= COVERED for count in fired.values())}"
            f" | {_broken(told)} |"
        )
    return rows


def _broken(lines: list[dict[str, Any]]) -> str:
    """Invariant by invariant; a check repeats what one before it has said."""
    wrong = {text for one in lines for text in one.get("wrong", []) + one.get("found", [])}
    broken = Counter(text.partition(" ")[0].rstrip(":") for text in wrong)
    return ", ".join(f"{rule}: {count}" for rule, count in sorted(broken.items())) or "none"


def _runs(lines: list[dict[str, Any]]) -> list[str]:
    rows = ["| Tier | Seed | Code | Began | Fired | Broken |", "|---|---|---|---|---:|---|"]
    for seed in dict.fromkeys(one["seed"] for one in sorted(lines, key=lambda one: one["at"])):
        run = [one for one in lines if one["seed"] == seed]
        fired = sum(one.get("fired", 0) for one in run)
        began = min(one["at"] for one in run).replace("T", " ").rstrip("Z")
        code = run[0]["commit"]
        rows.append(f"| {run[0]['tier']} | {seed} | {code} | {began} | {fired} | {_broken(run)} |")
    return rows


def _row(triple: Triple, fired: int, instants: set[str]) -> str:
    process, fault, phase = triple
    who = " and ".join(PROCESSES[letter] for letter in process.split("+"))
    at = ", ".join(f"`{one}`" for one in sorted(instants)) or "–"
    return f"| {who} | {FAULTS[fault]} | {PHASES[phase]} | {fired} | {at} |"


if __name__ == "__main__":
    sys.stdout.write(page(read([Path(name) for name in sys.argv[1:]])))
