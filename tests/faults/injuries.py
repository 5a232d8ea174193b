"""What is done to programs and connections while a process stands at an instant."""

import random
import resource
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import upstream
from installation import Installation
from instant import Instant
from polling import until
from process import processes_of
from program import Program
from work import END_SECONDS, Read, Sync, Work

# Long enough for timeouts of a second or two, and for heartbeats to be missed.
PAUSE_SECONDS = 1.2
# How long a stopped process is left until others have surely taken over, or need not.
TAKEN_SECONDS = 12.0
LOOK_SECONDS = 0.1
# When in its start a program is killed.
START_SECONDS = (0.05, 2.5)
# What a starved program may still take.
SPARE_BYTES = 256 * 1024
# Until another has ended the work of one whose every connection hangs (I5).
SWALLOWED_SECONDS = 75.0


@dataclass
class Scene:
    """One cell as it is played."""

    installation: Installation
    instant: Instant | None
    work: Work
    # What was done, for the record.
    notes: dict[str, float | str] = field(default_factory=dict)

    @property
    def stopped(self) -> Program | None:
        """Whoever stands at the instant, if nobody has killed it meanwhile."""
        assert self.instant is not None
        return self.installation.programs.get(self.installation.name_of(self.instant.pid))

    def release(self) -> None:
        """Let go whoever is held at the instant."""
        if self.instant is not None:
            self.instant.release()

    def wake(self) -> None:
        """Let it go on."""
        if (stopped := self.stopped) is not None:
            stopped.send(signal.SIGCONT)


def wake_soon(scene: Scene) -> None:
    """Let a stopped process go on after a moment."""
    _rest(PAUSE_SECONDS)
    scene.wake()


def wake_silent(scene: Scene) -> None:
    """Let a stopped plugin go on after its attempt was given up."""
    _until_lost(scene)
    scene.wake()


def wake_zombie(scene: Scene) -> None:
    """Let a stopped dispatcher go on after another has taken over.

    The database ends its session, as it does with that of a host that is cut off.
    """
    installation = scene.installation
    pid = scene.stopped.pid if scene.stopped else 0
    start = time.monotonic()
    installation.query(
        "SELECT pg_terminate_backend(backend_pid) FROM dispatcher WHERE name LIKE %s",
        (f"%:{pid}",),
    )
    if _until_lost(scene):
        scene.notes["takeover_seconds"] = round(time.monotonic() - start, 2)
    # Whatever else it holds must not keep the other from the end.
    give_up = start + TAKEN_SECONDS
    while time.monotonic() < give_up and not _has_ended(scene):
        _rest(LOOK_SECONDS)
    scene.notes["ended_before_it_woke"] = str(_has_ended(scene))
    scene.wake()


def kill(*names: str) -> Callable[[Scene], None]:
    """Kill programs; `dispatch` is the one that runs the work, or else the first."""

    def injure(scene: Scene) -> None:
        for program in _programs(scene, names):
            program.send(signal.SIGKILL)
        _go_on(scene)

    return injure


def kill_runner(scene: Scene) -> None:
    """Kill the dispatcher that runs the work, once its user has asked it to stop."""
    number = until(scene.work.number, "the task", END_SECONDS)
    until(
        lambda: scene.installation.query(
            "SELECT 1 FROM task WHERE task_id = %s::uuid AND state = 'running'", (number,)
        ),
        "the attempt",
        END_SECONDS,
    )
    for program in _programs(scene, ("dispatch",)):
        program.send(signal.SIGKILL)


def kill_everything(scene: Scene) -> None:
    """Kill all programs at once, as a power cut does that loses nothing written."""
    for program in scene.installation.programs.values():
        program.send(signal.SIGKILL)


def kill_again(name: str) -> Callable[[Scene], None]:
    """Kill a program, and once more while it starts."""

    def injure(scene: Scene) -> None:
        program = scene.installation.programs[name]
        starts = program.starts
        program.send(signal.SIGKILL)
        scene.release()
        until(lambda: program.starts > starts, f"{name} to be started", END_SECONDS)
        pause = random.uniform(*START_SECONDS)  # noqa: S311, not a secret
        _rest(pause)
        program.send(signal.SIGKILL)
        scene.notes["started_seconds"] = round(pause, 2)

    return injure


def ask_to_end_twice(name: str) -> Callable[[Scene], None]:
    """Have a program end, and say so again while it does."""

    def injure(scene: Scene) -> None:
        (program,) = _programs(scene, (name,))
        pid = program.pid
        program.send(signal.SIGTERM)
        _rest(LOOK_SECONDS)
        if program.pid == pid:
            program.send(signal.SIGTERM)
        scene.release()

    return injure


def starve(name: str) -> Callable[[Scene], None]:
    """Let a program have no more memory than it has, for a moment."""

    def injure(scene: Scene) -> None:
        (program,) = _programs(scene, (name,))
        pid = until(lambda: program.pid, f"{name} to be started", END_SECONDS)
        with suppress(FileNotFoundError, ProcessLookupError):  # something else has killed it
            # Not what it is now: another may be starving it, too.
            free = (resource.RLIM_INFINITY, resource.prlimit(pid, resource.RLIMIT_AS)[1])
            has = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
            resource.prlimit(pid, resource.RLIMIT_AS, (has + SPARE_BYTES, free[1]))
            scene.release()
            _rest(PAUSE_SECONDS)
            if program.pid == pid:
                resource.prlimit(pid, resource.RLIMIT_AS, free)

    return injure


def ask_to_end(*names: str) -> Callable[[Scene], None]:
    """Have programs end in good order, as in a rolling restart."""

    def injure(scene: Scene) -> None:
        for program in _programs(scene, names):
            program.send(signal.SIGTERM)

    return injure


def pause(*names: str) -> Callable[[Scene], None]:
    """Stop programs for a moment."""

    def injure(scene: Scene) -> None:
        programs = _programs(scene, names)
        for program in programs:
            program.send(signal.SIGSTOP)
        _rest(PAUSE_SECONDS)
        for program in programs:
            program.send(signal.SIGCONT)
        _go_on(scene)

    return injure


def stop_database(scene: Scene) -> None:
    """Stop every process of PostgreSQL for a moment, while work goes on."""
    data_dir = scene.installation.postgres.data_dir
    pids = [one.pid for one in processes_of(data_dir)]
    for pid in pids:
        scene.installation.signal(pid, signal.SIGSTOP)
    if scene.instant is not None:
        scene.instant.release()
    _rest(PAUSE_SECONDS)
    for pid in pids:
        scene.installation.signal(pid, signal.SIGCONT)


def end_sessions(name: str) -> Callable[[Scene], None]:
    """Have the database end every session whose program says it is called so."""

    def injure(scene: Scene) -> None:
        rows = scene.installation.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE %s",
            (f"{name}%",),
        )
        scene.notes["sessions"] = len(rows)

    return injure


def cut(wire: str) -> Callable[[Scene], None]:
    """Reset every connection between two programs."""

    def injure(scene: Scene) -> None:
        wires = scene.installation.wires_of(wire)
        scene.notes["connections"] = sum(one.cut() for one in wires)

    return injure


def swallow(scene: Scene) -> None:
    """Have nothing come through between a dispatcher and the database, and both believe it does.

    So it is behind a proxy that answers for a host that has gone: no connection ever looks dead.
    What it holds in the middle of a transaction must not keep others from the end of the work.
    """
    assert scene.instant is not None
    assert scene.stopped is not None
    wire = scene.installation.wires[f"{scene.stopped.name}-Q"]
    start = time.monotonic()
    wire.block()
    scene.instant.release()
    try:
        until(lambda: _has_ended(scene), "another to end the work", SWALLOWED_SECONDS)
    finally:
        wire.heal()
    scene.notes["swallowed_seconds"] = round(time.monotonic() - start, 2)


def misbehave(kind: str, scene: Scene) -> None:
    """Have the upstream answer wrongly once, for one of its files."""
    work = scene.work
    assert isinstance(work, Sync)
    path = min(work.upstream.files)
    behavior = upstream.answers(502, 1) if kind == "answers" else getattr(upstream, kind)(1)
    work.upstream.behave(path, behavior)
    until(lambda: work.upstream.count(path) > 0, "the file to be asked for", END_SECONDS)


def _programs(scene: Scene, names: tuple[str, ...]) -> list[Program]:
    programs = scene.installation.programs
    return [_runner(scene) if name == "dispatch" else programs[name] for name in names]


def _runner(scene: Scene) -> Program:
    """The dispatcher that runs the task; the first, if none does."""
    rows = scene.installation.query(
        "SELECT d.name FROM workspace w JOIN dispatcher d USING (dispatcher_id)"
        " JOIN task t USING (task_id) JOIN task_resource r USING (task_id)"
        " JOIN resource n USING (resource_id) WHERE n.name = %s",
        (scene.work.repository["name"],),
    )
    pid = int(rows[0][0].rpartition(":")[2]) if rows else 0
    name = scene.installation.name_of(pid) if pid else ""
    return scene.installation.programs[name or "dispatch-1"]


def _until_lost(scene: Scene) -> bool:
    """Return once an attempt of the task is lost, or the task over; say whether one was lost."""
    number = scene.work.number()
    give_up = time.monotonic() + TAKEN_SECONDS
    while time.monotonic() < give_up and not _has_ended(scene):
        if scene.installation.query(
            "SELECT 1 FROM lost_attempt WHERE task_id = %s::uuid", (number,)
        ):
            return True
        _rest(LOOK_SECONDS)
    return False


def hasten(scene: Scene) -> None:
    """Shorten the pause after which what failed on a full disk is tried again."""
    number = until(scene.work.number, "the task", END_SECONDS)
    give_up = time.monotonic() + TAKEN_SECONDS
    while time.monotonic() < give_up and not _has_ended(scene):
        scene.installation.query(
            "UPDATE task SET not_before = clock_timestamp() WHERE task_id = %s::uuid AND parked",
            (number,),
        )
        _rest(LOOK_SECONDS)


def _has_ended(scene: Scene) -> bool:
    return bool(
        scene.installation.query(
            "SELECT 1 FROM task WHERE task_id = %s::uuid AND ended_at IS NOT NULL",
            (scene.work.number(),),
        )
    )


def _go_on(scene: Scene) -> None:
    if isinstance(scene.work, Read):
        scene.work.goes_on.set()


def _rest(seconds: float) -> None:
    threading.Event().wait(seconds)
