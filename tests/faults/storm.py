"""Random faults, one after another and at the same time, on everything within reach."""

import random
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from installation import Installation
from journal import Journal
from polling import until
from process import processes_of

if TYPE_CHECKING:
    from program import Program
    from wire import Wire

# Until a program that was killed serves again, at most.
_BACK_SECONDS = 150.0
# How long what is stopped, blocked or slow stays so.
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.3, 6.0
_DELAY_SECONDS = 0.1
# Until a program that is back is expected to serve as ever.
_RECOVERY_SECONDS = 5.0


class Storm:
    """Hurts an installation so many times within so many seconds.

    Args:
        installation: To be hurt.
        journal: Where each fault leaves a line.
        dice: What decides.
    """

    def __init__(self, installation: Installation, journal: Journal, dice: random.Random) -> None:
        self.fired = 0
        # Programs that could not be expected to serve, from when until when.
        self.down: list[tuple[str, float, float]] = []
        self._installation = installation
        self._journal = journal
        self._dice = dice
        self._over = threading.Event()

    def rage(self, faults: int, seconds: float) -> None:
        """Do it, and return when all is healed."""
        moments = sorted(self._dice.uniform(0, seconds) for _ in range(faults))
        planned = [(moment, *self._draw()) for moment in moments]
        start = time.monotonic()
        threads = []
        for moment, name, hurt in planned:
            self._over.wait(max(0.0, start + moment - time.monotonic()))
            self._journal.write(kind="fault", fault=name, fired=1, second=round(moment, 2))
            self.fired += 1
            threads.append(threading.Thread(target=hurt, name=name, daemon=True))
            threads[-1].start()
        self._over.wait(max(0.0, start + seconds - time.monotonic()))
        for thread in threads:
            thread.join(_BACK_SECONDS)
        self._heal()

    def _draw(self) -> tuple[str, Callable[[], None]]:
        programs = self._installation.programs
        name = self._dice.choice(list(programs))
        wire = self._dice.choice(list(self._installation.wires))
        seconds = self._dice.uniform(_SHORTEST_SECONDS, _LONGEST_SECONDS)
        target = self._installation.wires[wire]
        kinds: list[tuple[str, Callable[[], None]]] = [
            (f"kill {name}", partial(self._kill, programs[name])),
            (f"stop {name} {seconds:.1f} s", partial(self._stop, programs[name], seconds)),
            (f"cut {wire}", partial(self._cut, target)),
            (f"block {wire} {seconds:.1f} s", partial(self._block, target, seconds)),
            (f"slow {wire} {seconds:.1f} s", partial(self._slow, target, seconds)),
            (f"end sessions of {name}", partial(self._end_sessions, name)),
        ]
        return self._dice.choice(kinds)

    def _kill(self, program: "Program") -> None:
        began, starts = time.monotonic(), program.starts
        if program.send(signal.SIGKILL):
            until(lambda: program.starts > starts, f"{program.name} to be started again")
        until(lambda: self._installation.serves(program), f"{program.name} to serve again")
        self._note(program, began)

    def _stop(self, program: "Program", seconds: float) -> None:
        began = time.monotonic()
        # PostgreSQL is many processes.
        folder = self._installation.postgres.data_dir
        ours = [one.pid for one in processes_of(folder)] if program.name == "postgres" else []
        for number in (signal.SIGSTOP, signal.SIGCONT):
            if program.name == "postgres":
                for pid in ours:
                    self._installation.signal(pid, number)
            else:
                program.send(number)
            self._over.wait(seconds if number == signal.SIGSTOP else 0)
        self._note(program, began)

    @staticmethod
    def _cut(wire: "Wire") -> None:
        wire.cut()

    def _block(self, wire: "Wire", seconds: float) -> None:
        wire.block()
        self._over.wait(seconds)
        wire.heal()

    def _slow(self, wire: "Wire", seconds: float) -> None:
        wire.delay_seconds = _DELAY_SECONDS
        self._over.wait(seconds)
        wire.delay_seconds = 0.0

    def _end_sessions(self, name: str) -> None:
        # Of one kind of program, or all; dispatchers are called alike.
        called = {"api": "entrepot api%"}.get(name, "entrepot dispatch%")
        self._installation.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE %s",
            (called,),
        )

    def _note(self, program: "Program", began: float) -> None:
        self.down.append((program.name, began, time.monotonic() + _RECOVERY_SECONDS))

    def _heal(self) -> None:
        for wire in self._installation.wires.values():
            wire.heal()
        for program in self._installation.programs.values():
            program.send(signal.SIGCONT)
