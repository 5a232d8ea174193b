"""The power cut: an installation works on a recording disk, and is looked at after many cuts."""

import contextlib
import itertools
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
from bisect import bisect_right
from collections import defaultdict
from pathlib import Path

import psycopg2

import mounts
import patience
from clients import Clients
from entrepot_cli.postgres import EmbeddedPostgres
from entrepot_cli.stack import installed
from entrepot_rpc import failpoints
from installation import Installation
from journal import Journal
from polling import until
from recording import Image, Recording
from recording_disk import recording_disk
from told import EventListener, Told
from work import Client, Sync, Tally

# Of so many cuts, one has the whole installation started on what is left.
WHOLE_EVERY = 10
END_SECONDS = 75.0
# So many writes may be lost at once, or some of them.
_MANY_WRITES = 8
# What is under way at an instant, by the first word of its name; the others are spans of requests.
_PHASES = {
    "create": "p1", "claim": "p3", "execute": "p4", "stage": "p4", "plugin": "p4", "bytes": "p5",
    "commit": "p6", "events": "p7", "collect": "p10", "take_over": "p11",
}  # fmt: skip
# Told by requests, or by the start of everything: a phase that has no instants in this work.
_SPANS = ("p9", "p10", "p12")
TRIPLES = tuple(("H", "t", phase) for phase in sorted({*_PHASES.values(), *_SPANS} - {"p11"}))
# What only programs mend that run again: time passed since the cut, and residue.
_MENDED_LATER = {"I5", "I14"}


class Power:
    """One recording, and cuts of it; `broken` has what did not hold.

    Mounts are made, which should be private: see `mounts`.

    Args:
        journal: Where each cut leaves a line.
        seed: Of everything that is left to chance.
    """

    def __init__(self, journal: Journal, seed: int) -> None:
        self.broken: list[str] = []
        self.cuts = 0
        self._journal = journal
        self._seed = seed
        self._dice = random.Random(seed)  # noqa: S311, not a secret
        self._told = Told()
        self._recording: Recording
        # When which failpoint was passed.
        self._instants: list[tuple[float, str]] = []

    def run(self, seconds: float, points: int) -> None:
        """Record so many seconds of work; then cut the power at so many points."""
        folder = Path(tempfile.mkdtemp(prefix="entrepot-p-"))
        try:
            with contextlib.closing(self._record(folder, seconds)):
                image = Image(self._recording, folder / "blank", folder / "image")
                for number, flush in enumerate(self._choose(points)):
                    self._cut(
                        folder, image, flush, is_whole=number % WHOLE_EVERY == WHOLE_EVERY // 2
                    )
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    # --- the recording

    def _record(self, folder: Path, seconds: float) -> Clients:
        """The clients, who are done, and whose upstreams still serve."""
        notes = ";".join(f"{name}=note" for name in failpoints.NAMES)
        programs = ("api", "dispatch-1", "dispatch-2", "plugin")
        began = time.monotonic()
        with recording_disk(folder) as root:
            installation = Installation(
                extra={name: {"ENTREPOT_FAILPOINTS": notes} for name in programs}, data=root
            )
            with installation:
                self._told.spans.append(("p12", began, time.monotonic()))
                listener = EventListener(installation, self._told)
                listener.start()
                clients = Clients(installation, self._told)
                clients.run(seconds)
                listener.stop()
                self._instants = _read_notes(installation.failpoints / "notes")
        self._recording = Recording(folder / "log")
        self.broken += clients.errors + [f"I15: {one}" for one in clients.tally.wrong]
        self._journal.write(
            kind="recording", wrong=list(self.broken), seconds=round(time.monotonic() - began, 1),
            flushes=len(self._recording.flushes), writes=len(self._recording.writes),
            bytes=(folder / "log").stat().st_size, facts=len(self._told.facts),
            events=len(self._told.events), works=clients.works, collections=clients.collections,
            statuses=dict(clients.tally.statuses),
        )  # fmt: skip
        return clients

    # --- where to cut

    def _choose(self, points: int) -> list[int]:
        """Flushes after which to cut, in order: as many for each instant, and each phase."""
        times = [flush.at for flush in self._recording.flushes]
        aims: defaultdict[str, set[int]] = defaultdict(set)
        aims["any"] = set(range(len(times)))
        aims["many"] = {
            flush for flush in aims["any"] if len(self._recording.pending(flush)) >= _MANY_WRITES
        }
        # Of each kind of fact as many: there are few of some.
        told = [(fact.at, f"told {fact.statement}") for fact in self._told.facts]
        for at, name in [*self._instants, *told]:
            # Before the next flush, which may make it durable, and after it.
            after = bisect_right(times, at)
            aims[name] |= {after - 1, after}
        for phase, began, ended in self._told.spans:
            aims[phase] |= set(range(bisect_right(times, began), bisect_right(times, ended)))
        chosen: set[int] = set()
        # No instant is one of these phases, or hardly any.
        names = sorted([*aims, *_SPANS, *_SPANS])
        self._dice.shuffle(names)
        for name in itertools.islice(itertools.cycle(names), 20 * points):
            rest = sorted((aims[name] & aims["any"]) - chosen)
            if rest and len(chosen) < points:
                chosen.add(self._dice.choice(rest))
        return sorted(chosen)

    def _under_way(self, flush: int) -> tuple[list[str], list[str]]:
        """The phases in which the power is cut after a flush, and the instants passed there."""
        began, ended = self._recording.flushes[flush].at, self._recording.until(flush)
        instants = {name for at, name in self._instants if began <= at < ended}
        phases = {phase_of(name) for name in instants}
        phases |= {one for one, first, last in self._told.spans if first < ended and last > began}
        return sorted(phases), sorted(instants)

    # --- what is left

    def _cut(self, folder: Path, image: Image, flush: int, *, is_whole: bool) -> None:
        began = time.monotonic()
        image.advance(flush)
        left = folder / "left"
        dice = random.Random(f"{self._seed} {flush}")  # noqa: S311, not a secret
        fates = image.cut(flush, left, dice)
        at = self._recording.until(flush)
        # Before its first answer there may be nothing yet.
        is_whole = is_whole or not any(fact.at < at for fact in self._told.facts)
        with mounts.mounted(left, folder / "mount") as root:
            try:
                wrong = [] if is_whole else self._look(root, at)
                if any(_is_set_aside(root, one) for one in wrong):
                    # What a collector had set aside is put back when programs start.
                    is_whole, wrong = True, []
                if is_whole:
                    wrong = self._start(root, at)
            except Exception as error:  # noqa: BLE001, the verdict on the cut
                notes = "\n".join(getattr(error, "__notes__", []))
                wrong = [f"I5: {type(error).__name__}: {error}\n{notes}".strip()]
        phases, instants = self._under_way(flush)
        self.cuts += 1
        self.broken += [f"flush {flush}: {one}" for one in wrong]
        self._journal.write(
            kind="cut", process="H", fault="t", phases=phases, instants=instants, fired=1,
            flush=flush, wrong=wrong, whole=is_whole, seconds=round(time.monotonic() - began, 2),
            **fates,
        )  # fmt: skip

    def _look(self, root: Path, at: float) -> list[str]:
        """What is wrong with the rows and the bytes, once PostgreSQL has recovered."""
        with EmbeddedPostgres(root / "postgres") as postgres:
            wrong = self._broken(postgres.dsn, at)
            if self._told.has_secrets_at < at and not (root / "secret-key").exists():
                wrong.append("I1: the key to all secrets is gone")
            checked = subprocess.run(
                [installed.program("entrepot-core"), "check", "--json"],
                env={
                    "PATH": os.environ.get("PATH", os.defpath), "ENTREPOT_HOME": str(root),
                    "ENTREPOT_DATABASE_URL": postgres.dsn,
                },
                capture_output=True, text=True, check=False,
            )  # fmt: skip
        found = [json.loads(line) for line in checked.stdout.splitlines()]
        if checked.returncode and not found:
            return [*wrong, f"I2: the check fails: {checked.stderr.strip()}"]
        return wrong + [
            f"{one['invariant']}: {one['subject']}: {one['message']}"
            for one in found
            if one["invariant"] not in _MENDED_LATER
        ]

    def _start(self, root: Path, at: float) -> list[str]:
        """What is wrong once everything runs again, has ended what was begun, and rests."""
        with Installation(data=root) as installation:
            patience.restored(installation)
            left = "SELECT 1 FROM task WHERE ended_at IS NULL"
            with contextlib.suppress(AssertionError):
                until(lambda: not installation.query(left), "all tasks to end", END_SECONDS)
            wrong = [
                f"I5: {task['name']} is {task['state']}: {task.get('error')}"
                for task in installation.api.everything("tasks/")
                if task["state"] != "completed"
            ]
            wrong += self._broken(installation.postgres.dsn, at)
            tally = Tally()
            sync = Sync(Client(installation, tally))
            sync.prepare()
            try:
                sync.do()
                wrong += sync.judge()
            finally:
                sync.close()
            wrong += [f"I15: {one}" for one in tally.wrong]
            return wrong + installation.check()

    def _broken(self, dsn: str, at: float) -> list[str]:
        connection = psycopg2.connect(dsn)
        with contextlib.closing(connection), connection, connection.cursor() as cursor:

            def query(statement: str, parameters: tuple[object, ...]) -> list[tuple[object, ...]]:
                cursor.execute(statement, parameters)
                return cursor.fetchall()

            return self._told.broken(query, at)


def phase_of(instant: str) -> str:
    """The phase that a failpoint is in."""
    return _PHASES[instant.partition(".")[0]]


def _read_notes(path: Path) -> list[tuple[float, str]]:
    lines = (line.split() for line in path.read_text().splitlines())
    return [(float(at), name) for at, name, _ in lines]


def _is_set_aside(root: Path, line: str) -> bool:
    """Say whether a finding is a blob that a collector has moved, and whose row is still there."""
    rule, _, rest = line.partition(": ")
    return rule == "I8" and (root / "blobs" / "aside" / rest.partition(":")[0]).exists()
