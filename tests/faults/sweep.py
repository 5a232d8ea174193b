"""The sweep: cell after cell on one installation, which is restarted where it was hurt."""

import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import patience
from cells import CELLS, Cell
from injuries import Scene, swallow
from installation import Installation
from journal import Journal
from played import Played
from polling import until
from upstream import Upstream
from work import Add, Client, Tally, prepared

if TYPE_CHECKING:
    from rest import Json

CHECK_EVERY = 50
POOL = 40
# How often a cell is played that is not reached, for what is beside it ends its work before.
_PASSES = 5


class Sweep:
    """Plays cells until enough were fired, and keeps what came of each.

    Args:
        installation: To be hurt.
        journal: Where each cell leaves a line.
        seed: Of the order of cells.
    """

    def __init__(self, installation: Installation, journal: Journal, seed: int) -> None:
        self.broken: list[str] = []
        self.fired: Counter[tuple[str, str, str]] = Counter()
        self._installation = installation
        self._journal = journal
        self._dice = random.Random(seed)  # noqa: S311, not a secret
        self.tally = Tally()
        self._client = Client(installation, self.tally)
        self._pool: list[Json] = []
        self._tries: Counter[Cell] = Counter()
        self._round = 0

    def run(
        self,
        cells: Sequence[Cell] = CELLS,
        *,
        each: int,
        most: int = 1_000_000,
        seconds: float = 1e9,
        together: int = 1,
    ) -> None:
        """Fire each triple of the cells `each` times; at most so many in all, and so long.

        `together` of them are played at the same time, so that what is hurt is hurt by several.
        """
        self._fill_pool()
        give_up = time.monotonic() + seconds
        checked = 0
        while time.monotonic() < give_up and self.fired.total() < most:
            if min(self.fired[cell.triple] for cell in cells) >= each:
                break
            self._round += 1
            self._play(self._choose(cells, each, together))
            if self.fired.total() - checked >= CHECK_EVERY:
                checked = self.fired.total()
                self.check()
        self.check()

    def once(self, cells: Sequence[Cell], *, together: int) -> None:
        """Play each of these until it has fired; one that is never reached is a fault, too."""
        self._fill_pool()
        left = list(cells)
        for _ in range(_PASSES):
            reached: set[Cell] = set()
            # Neighbors hurt the same program: together, they would keep it from all work.
            rounds = -(-len(left) // together)
            for number in range(rounds):
                self._round += 1
                reached |= self._play(left[number::rounds])
            left = [cell for cell in left if cell not in reached]
        self.broken += [f"{cell.instant or cell.action} was never reached" for cell in left]
        self.check()

    def _choose(self, cells: Sequence[Cell], each: int, together: int) -> list[Cell]:
        """The cells that were fired least, each at an instant of its own."""
        chosen: list[Cell] = []
        rest = [cell for cell in cells if self.fired[cell.triple] < each]
        self._dice.shuffle(rest)
        rest.sort(key=lambda cell: (self.fired[cell.triple], self._tries[cell]))
        for cell in rest:
            # What ends everything costs the same once or several times.
            if chosen and cell.is_hard != chosen[0].is_hard:
                continue
            # Nobody would be left to go on with the work of two who are cut off for so long.
            if cell.injury is swallow and any(one.injury is swallow for one in chosen):
                continue
            taken = {one.instant for one in chosen if one.instant} | {one.triple for one in chosen}
            if cell.instant not in taken and cell.triple not in taken and len(chosen) < together:
                chosen.append(cell)
        self._tries.update(chosen)
        return chosen

    def check(self) -> None:
        """Let `entrepot-core check` look for what must not be, and ask what clients were told."""
        patience.restored(self._installation)
        found = self._installation.check()
        found += [f"I15: {one}" for one in self.tally.wrong]
        self.tally.wrong.clear()
        self._journal.write(kind="check", found=found, statuses=dict(self.tally.statuses))
        self.tally.statuses.clear()
        self.broken += found

    def _fill_pool(self) -> None:
        with Upstream().fill(POOL) as upstream:
            api = self._installation.api
            self._pool = api.units(api.a_synced_repository(upstream))

    def _play(self, cells: list[Cell]) -> set[Cell]:
        """Play these at the same time, and judge each; returns those that fired."""
        with ExitStack() as works:
            played = [self._begin(cell, works) for cell in cells]
            for one in played:
                one.start()
            for one in played:
                one.join()
            wrong = []
            try:
                patience.restored(self._installation, 75)
            except AssertionError as error:
                wrong = [f"I5: {error}"]
            for one in played:
                self._judge(one, wrong)
        return {one.cell for one in played if one.has_fired}

    def _begin(self, cell: Cell, works: ExitStack) -> Played:
        made = cell.work
        work = made(self._client, self._pool) if issubclass(made, Add) else made(self._client)
        until(lambda: prepared(work), "the work to be prepared", 60)
        works.callback(work.close)
        return Played(cell, Scene(self._installation, None, work))

    def _judge(self, played: Played, wrong: list[str]) -> None:
        cell, scene, work = played.cell, played.scene, played.scene.work
        wrong = [*wrong, *(f"I5: {one}" for one in played.errors)]
        if not wrong:
            try:
                wrong = work.judge()
            except (AssertionError, OSError) as error:
                wrong = [f"I5: {error}"]
        self.fired[cell.triple] += played.has_fired
        self.broken += [f"{' '.join(cell.triple)} at {cell.instant}: {one}" for one in wrong]
        self._journal.write(
            kind="cell", process=cell.process, fault=cell.fault, phase=cell.phase,
            instant=cell.instant, action=cell.action, work=type(work).__name__.lower(),
            round=self._round, fired=int(played.has_fired), wrong=wrong, seconds=played.seconds,
            task=work.task.get("name", ""), state=work.task.get("state", ""),
            lost=[one["reason"] for one in work.task.get("lost_attempts", [])], **scene.notes,
        )  # fmt: skip
