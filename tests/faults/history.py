"""What clients did to a repository, and what its chain of versions must then be.

A repository is a chain of versions, so that no search is needed: each change that was
acknowledged is one link of it, after all that was acknowledged before it was asked for.
"""

import json
import random
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rest import Json
from work import Client


@dataclass
class Change:
    """A task that adds or removes units, as its client saw it; times of one clock."""

    kind: str
    units: list[str]
    began: float
    ended: float = 0.0
    task: str = ""
    state: str = ""
    version: int = 0
    changed: bool = False


@dataclass
class Seen:
    """The latest version, as a client was told it."""

    began: float
    ended: float
    version: int


@dataclass
class History:
    """One repository, and all that was asked of it. It is kept in a file as it happens."""

    repository: Json
    path: Path
    changes: list[Change] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def write(self, client: Client, pool: list[Json], dice: random.Random) -> None:
        """Add or remove a few units, and wait for the end of it."""
        units = [unit["name"] for unit in dice.sample(pool, dice.randint(1, 3))]
        change = Change(dice.choice(["adds", "adds", "removes"]), units, time.monotonic())
        with self.guard:
            self.changes.append(change)
        task = client.create(
            f"file/{change.kind}", repository=self.repository["name"], content=units
        )
        change.task = task["name"]
        self._keep(change)
        done = client.finished(task)
        change.state, change.changed = done["state"], bool(done.get("changed"))
        change.version = int((done.get("created_resource") or "0").rpartition("/")[2])
        change.ended = time.monotonic()
        self._keep(change)

    def read(self, client: Client) -> None:
        """Ask for the latest version."""
        began = time.monotonic()
        answer = client.ask("GET", self.repository["href"])
        if answer is not None:
            latest = answer.expect(200).get("latest_version") or "0"
            seen = Seen(began, time.monotonic(), int(str(latest).rpartition("/")[2]))
            with self.guard:
                self.seen.append(seen)
            self._keep(seen)

    def judge(self, client: Client) -> list[str]:
        """Replay the chain: what was acknowledged is there, once, and in an order that may be."""
        api = client.api
        versions = api.versions(self.repository)
        if versions != list(range(len(versions))):
            return [f"I3: the versions are {versions}"]
        chain = [
            {unit["name"] for unit in api.units(self.repository, number)} for number in versions
        ]
        wrong = [
            f"I1: {one.task} was acknowledged and has not ended"
            for one in self.changes
            if one.task and not one.ended
        ]
        done = [one for one in self.changes if one.state == "completed"]
        made = {one.version: one for one in done if one.changed}
        if len(made) != sum(one.changed for one in done):
            wrong.append("I2: two tasks say that they made the same version")
        if sorted(made) != versions[1:]:
            wrong.append(f"I2: the versions are {versions}, tasks say they made {sorted(made)}")
            return wrong
        for number, one in sorted(made.items()):
            if chain[number] != _applied(one, chain[number - 1]):
                wrong.append(f"I1: version {number} is not what {one.task} was asked for")
            earliest, _ = self._between(one.began, one.ended, made)
            if number <= earliest:
                wrong.append(f"I1: version {number} comes before one acknowledged earlier")
        for one in done:
            first, last = self._between(one.began, one.ended, made)
            if not one.changed and not any(
                _applied(one, state) == state for state in chain[first : last + 1]
            ):
                wrong.append(f"I1: {one.task} changed nothing, and should have")
        for look in self.seen:
            first, last = self._between(look.began, look.ended, made)
            if not first <= look.version <= last:
                wrong.append(f"I1: version {look.version} was latest, not {first} to {last}")
        return wrong

    @staticmethod
    def _between(began: float, ended: float, made: dict[int, Change]) -> tuple[int, int]:
        """The oldest and the newest version that may have been the latest in this time."""
        oldest = max((number for number, one in made.items() if one.ended < began), default=0)
        newest = max((number for number, one in made.items() if one.began < ended), default=0)
        return oldest, newest

    def _keep(self, one: Change | Seen) -> None:
        line = {"repository": self.repository["name"], "kind": type(one).__name__} | asdict(one)
        with self.guard, self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _applied(change: Change, units: set[str]) -> set[str]:
    return units | set(change.units) if change.kind == "adds" else units - set(change.units)
