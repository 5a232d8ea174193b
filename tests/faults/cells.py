"""The cells of the sweep: what fails, how, and at which instant of which work.

A triple is (process, fault, phase) with the letters of the fault model: processes A (api),
D (dispatcher), L (downloads, inside core), P (plugin), G (gateways), Q (PostgreSQL), U (upstream)
and H (all at once); faults k (kill -9), z (stopped and woken), n (connection lost), s (slow), e
(error of the disk), f (sessions ended by the database), d (reply lost), h (hostile), o (no memory)
and q (asked to end). Phases are p1 to p12.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product

import injuries
from injuries import Scene
from work import Add, Canceled, Collect, Deferred, Fetch, Queued, Read, Send, Sync, Work

Injury = Callable[[Scene], None]


@dataclass(frozen=True)
class Cell:
    """One way to hurt one kind of work.

    `action` is what the process that comes to `instant` does there, if it was started with `word`;
    `injury` is what is done to others once it is there, and `first` a failpoint that has to kill
    before.
    """

    process: str
    fault: str
    phase: str
    work: type[Work]
    instant: str = ""
    action: str = "hold"
    injury: Injury | None = None
    first: str = ""
    word: str = ""

    @property
    def triple(self) -> tuple[str, str, str]:
        """Process, fault and phase."""
        return self.process, self.fault, self.phase

    @property
    def is_hard(self) -> bool:
        """Whether a program has to be started again, which takes longer than all else."""
        return self.fault in {"k", "o", "q"}


CREATE = ("create.decoded", "create.validated", "create.inserted", "create.committed")
CLAIM = ("claim.inserted", "claim.committed")
EXECUTE = ("execute.noted", "execute.started", "execute.first_event")
STAGE = ("stage.locked", "stage.written", "stage.committed")
BYTES = (
    "bytes.opened", "bytes.half_written", "bytes.complete", "bytes.renamed", "bytes.synced",
    "bytes.recorded",
)  # fmt: skip
COMMIT = (
    "commit.workspace_locked", "commit.version_inserted", "commit.before_commit",
    "commit.committed",
)  # fmt: skip
COMMIT_OF_SYNC = ("execute.completed_received", "commit.downloaded", *COMMIT)
COLLECT = (
    "collect.marked", "collect.condemned", "collect.waited", "collect.set_aside",
    "collect.deleted", "collect.discarded",
)  # fmt: skip
PLUGIN = ("plugin.opened", "plugin.staged", "plugin.before_verdict")


def _at(
    triple: str,
    instants: tuple[str, ...],
    actions: tuple[str, ...],
    works: tuple[type[Work], ...],
    injury: Injury | None = None,
    *,
    first: str = "",
    word: str = "",
) -> Iterator[Cell]:
    process, fault, phase = triple.split()
    for instant, action, work in product(instants, actions, works):
        yield Cell(process, fault, phase, work, instant, action, injury, first, word)


def _cells() -> Iterator[Cell]:
    yield from _of_who_is_there()
    yield from _of_others()
    yield from _without_instant()


def _of_who_is_there() -> Iterator[Cell]:
    """Whoever comes to the instant fails there."""
    kill, stop, slow, lost = ("kill",), ("stop",), ("sleep(0.8)",), ("drop_reply",)
    full = ("fail(ENOSPC)", "fail(EIO)")
    yield from _at("A k p1", CREATE, kill, (Add,))
    yield from _at("A z p1", CREATE, stop, (Add,), injuries.wake_soon)
    yield from _at("A s p1", CREATE, slow, (Add,))
    yield from _at("A d p1", ("create.committed",), lost, (Add, Sync))
    yield from _at("A k p4", STAGE, kill, (Sync,))
    yield from _at("A z p4", STAGE, stop, (Sync,), injuries.wake_soon)
    yield from _at("A s p4", STAGE, slow, (Sync,))
    yield from _at("A d p4", ("stage.committed",), lost, (Sync,))
    yield from _at("A k p9", BYTES, kill, (Send,))
    yield from _at("A e p9", BYTES[:3], full, (Send,))
    yield from _at("A k p6", COMMIT[:3], kill, (Add,))
    yield from _at("A z p6", COMMIT[:3], stop, (Add,), injuries.wake_soon)
    yield from _at("A s p6", COMMIT[:3], slow, (Add,))
    yield from _at("D k p3", CLAIM, kill, (Deferred, Sync))
    yield from _at("D z p3", CLAIM, stop, (Deferred, Sync), injuries.wake_zombie)
    yield from _at("D k p4", EXECUTE, kill, (Sync,))
    yield from _at("D z p4", EXECUTE, stop, (Sync,), injuries.wake_zombie)
    # The plugin's index is fetched by the api, the files by a dispatcher.
    for word in ("api", "dispatch"):
        yield from _at("L k p5", BYTES, kill, (Sync,), word=word)
        yield from _at("L s p5", BYTES, slow, (Sync,), word=word)
        yield from _at("L e p5", BYTES[:3], full, (Sync,), injuries.hasten, word=word)
    yield from _at("L z p5", BYTES, stop, (Sync,), injuries.wake_zombie, word="dispatch")
    yield from _at("L k p8", BYTES[:3], kill, (Fetch,))
    yield from _at("D k p6", COMMIT_OF_SYNC, kill, (Sync,))
    yield from _at("D k p6", COMMIT, kill, (Deferred,))
    yield from _at("D z p6", COMMIT_OF_SYNC, stop, (Sync,), injuries.wake_zombie)
    yield from _at("D z p6", COMMIT, stop, (Deferred,), injuries.wake_zombie)
    yield from _at("D s p6", COMMIT, slow, (Deferred,))
    yield from _at("D d p6", ("commit.committed",), lost, (Deferred, Sync))
    # Once the first has committed, the second is ready, and nobody has said so.
    ready = ("commit.before_commit", "commit.committed")
    yield from _at("D k p2", ready, kill, (Queued,))
    yield from _at("D z p2", ready, stop, (Queued,), injuries.wake_zombie)
    yield from _at("D s p2", ready, slow, (Queued,))
    yield from _at("D d p2", ready[1:], lost, (Queued,))
    yield from _at("D k p7", ("events.numbered",), kill, (Add,))
    yield from _at("D z p7", ("events.numbered",), stop, (Add,), injuries.wake_soon)
    yield from _at(
        "D k p11", ("take_over.deleted",), kill, (Sync,), first="execute.first_event",
    )  # fmt: skip
    yield from _at("D k p10", COLLECT, kill, (Collect,))
    yield from _at("D z p10", COLLECT, stop, (Collect,), injuries.wake_zombie)
    yield from _at("D s p10", COLLECT, slow, (Collect,))
    yield from _at("D e p10", ("collect.set_aside", "collect.discarded"), full[1:], (Collect,),
                   injuries.hasten)  # fmt: skip
    yield from _at("P k p4", PLUGIN, kill, (Sync,))
    yield from _at("P z p4", PLUGIN, stop, (Sync,), injuries.wake_silent)
    yield from _at("P s p4", PLUGIN, slow, (Sync,))


def _of_others() -> Iterator[Cell]:
    """Somebody else fails while a process is held at the instant."""
    hold = ("hold",)
    phases: dict[str, tuple[tuple[str, ...], type[Work]]] = {
        "p1": (CREATE, Add), "p3": (CLAIM, Sync), "p4": (STAGE, Sync), "p5": (BYTES, Sync),
        "p6": (COMMIT, Deferred), "p7": (("events.numbered",), Add), "p10": (COLLECT, Collect),
        "p12": (CLAIM, Sync),
    }  # fmt: skip
    phases["p2"] = (("commit.before_commit", "commit.committed"), Queued)
    hurt: tuple[tuple[str, Injury, tuple[str, ...]], ...] = (
        ("Q k", injuries.kill("postgres"), ("p1", "p2", "p3", "p4", "p5", "p6", "p7", "p10")),
        ("Q z", injuries.stop_database, ("p4", "p6")),
        ("A f", injuries.end_sessions("entrepot api"), ("p1", "p4")),
        ("D f", injuries.end_sessions("entrepot dispatch"), ("p2", "p3", "p4", "p6", "p7", "p10")),
        ("L f", injuries.end_sessions("entrepot dispatch"), ("p5",)),
        ("A n", injuries.cut("api-Q"), ("p1", "p4")),
        ("D n", injuries.cut("D-Q"), ("p2", "p3", "p5", "p6")),
        ("D n", injuries.cut("D-P"), ("p4",)),
        ("P n", injuries.cut("P-A"), ("p4",)),
        ("G n", injuries.cut("G-A"), ("p1", "p7")),
        ("G k", injuries.kill("gateway"), ("p1", "p7")),
        ("P k", injuries.kill("plugin"), ("p3", "p5")),
        ("A k", injuries.kill("api"), ("p6",)),
        ("D q", injuries.ask_to_end("dispatch"), ("p4", "p6")),
        ("A k", injuries.kill_again("api"), ("p12",)),
        ("D k", injuries.kill_again("dispatch-1"), ("p12",)),
        ("P k", injuries.kill_again("plugin"), ("p12",)),
        ("Q k", injuries.kill_again("postgres"), ("p12",)),
        ("D q", injuries.ask_to_end_twice("dispatch"), ("p12",)),
        ("A o", injuries.starve("api"), ("p1", "p4")),
        ("D o", injuries.starve("dispatch"), ("p4", "p6")),
        ("L o", injuries.starve("dispatch"), ("p5",)),
        ("P o", injuries.starve("plugin"), ("p4",)),
        ("H k", injuries.kill_everything, ("p1", "p4", "p5", "p6", "p10")),
    )
    for letters, injury, at in hurt:
        for phase in at:
            instants, work = phases[phase]
            yield from _at(f"{letters} {phase}", instants, hold, (work,), injury=injury)
    # The dispatchers', for only they have another beside them.
    yield from _at("D n p3", CLAIM, hold, (Deferred,), injuries.swallow, word="dispatch")
    yield from _at("D n p6", COMMIT[:3], hold, (Deferred,), injuries.swallow, word="dispatch")
    # A change that the api makes at once, in the transaction that makes its task.
    for letters, injury in (
        ("Q k", injuries.kill("postgres")),
        ("Q z", injuries.stop_database),
        ("A f", injuries.end_sessions("entrepot api")),
        ("A n", injuries.cut("api-Q")),
    ):
        yield from _at(f"{letters} p6", COMMIT[:3], hold, (Add,), injury)
    # In pairs, and while something is canceled.
    for pair in (("plugin", "dispatch"), ("api", "postgres"), ("dispatch", "postgres")):
        letters = "+".join({"postgres": "Q"}.get(one, one[0].upper()) for one in pair)
        yield from _at(f"{letters} k p5", BYTES, hold, (Sync,), injuries.kill(*pair))
    yield Cell("D", "k", "p11", Canceled, injury=injuries.kill_runner)
    yield Cell("P", "k", "p11", Canceled, injury=injuries.kill("plugin"))
    yield from _at("G k p9", BYTES[:2], hold, (Send,), injuries.kill("gateway"))
    yield from _at("G n p9", BYTES[:2], hold, (Send,), injuries.cut("G-A"))
    yield from _at("G k p8", BYTES[:3], hold, (Fetch,), injuries.kill("content"))


def _without_instant() -> Iterator[Cell]:
    """The instant is the client's, or the upstream's."""
    for kind in ("truncates", "resets", "stalls", "answers"):
        yield Cell("U", "h", "p5", Sync, action=kind, injury=partial(injuries.misbehave, kind))
    yield Cell("G", "k", "p8", Read, action="kill", injury=injuries.kill("content"))
    yield Cell("G", "z", "p8", Read, action="stop", injury=injuries.pause("content"))
    yield Cell("Q", "k", "p8", Read, action="kill", injury=injuries.kill("postgres"))
    yield Cell("A", "k", "p8", Read, action="kill", injury=injuries.kill("api"))


CELLS = tuple(_cells())
TRIPLES = tuple(sorted({cell.triple for cell in CELLS}))
