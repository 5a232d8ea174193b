"""One cell on its way: the work in one thread, what hurts it in another."""

import threading
import time

from cells import Cell
from injuries import Scene
from instant import Instant
from polling import until
from work import Read

# A process comes to every instant soon, or the load does not lead there.
FIRE_SECONDS = 60.0
# Longer than all that the work waits for.
LAST_SECONDS = 600.0


class Played:
    """A cell with its scene. `has_fired`, `errors` and `seconds` are known after `join`."""

    def __init__(self, cell: Cell, scene: Scene) -> None:
        self.cell = cell
        self.scene = scene
        self.has_fired = False
        self.errors: list[str] = []
        self.seconds = 0.0
        self._instants = []
        folder = scene.installation.failpoints
        if cell.first:
            self._instants.append(Instant(folder, cell.first, "kill"))
        if cell.instant:
            scene.instant = Instant(folder, cell.instant, cell.action, cell.word)
            self._instants.append(scene.instant)
        self._work = threading.Thread(target=self._do, name="work", daemon=True)
        self._strike = threading.Thread(target=self._hurt, name="strike", daemon=True)

    def start(self) -> None:
        """Arm what is to fire, and begin the work."""
        for instant in self._instants:
            instant.arm()
        self._started = time.monotonic()
        self._strike.start()
        self._work.start()

    def join(self) -> None:
        """Return when the work is done, and nothing is armed or held any more."""
        for thread in (self._strike, self._work):
            thread.join(LAST_SECONDS)
        if self._work.is_alive():
            self.errors.append(f"it goes on after {LAST_SECONDS:g} s")

    def _do(self) -> None:
        try:
            self.scene.work.do()
        except Exception as error:  # noqa: BLE001, the verdict on the cell
            self.errors.append(f"{type(error).__name__}: {error}")
        self.seconds = round(time.monotonic() - self._started, 2)

    def _hurt(self) -> None:
        try:
            if self._comes():
                self.has_fired = True
                if self.cell.injury is not None:
                    self.cell.injury(self.scene)
        except Exception as error:  # noqa: BLE001, as above
            self.errors.append(f"the injury: {type(error).__name__}: {error}")
        finally:
            for instant in self._instants:
                instant.release()

    def _comes(self) -> bool:
        """Return once the instant is there; False if the work ended without it."""
        instant, work = self.scene.instant, self.scene.work
        if instant is None:
            return work.is_halfway.wait(FIRE_SECONDS) if isinstance(work, Read) else True
        give_up = self._started + FIRE_SECONDS
        until(
            lambda: instant.has_fired() or not self._may_come() or time.monotonic() > give_up,
            self.cell.instant,
            2 * FIRE_SECONDS,
        )
        if not instant.pid:
            return False
        self.scene.notes["by"] = self.scene.installation.name_of(instant.pid)
        return True

    def _may_come(self) -> bool:
        return self._work.is_alive() or not self._work.ident
