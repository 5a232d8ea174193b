"""Named instants at which a test, or an operator's drill, can make a process fail.

They cost a dict look-up when none is set.

`ENTREPOT_FAILPOINTS` is a list separated by ";" of `name=action`, where an action is one of

- `kill`: SIGKILL to this process
- `stop`: SIGSTOP to this process
- `sleep(seconds)`
- `raise`, `raise(reason)`: a ServiceError UNAVAILABLE with that reason
- `fail(ENOSPC)`: an OSError with that number, as a full disk would raise
- `hold`: waits, at most a minute, until the file with which it was armed is gone (see `ask`)
- `drop_reply`: the work is done, its answer is lost (only where `failpoint` is told it may)
- `note`: appends the time (monotonic, in seconds), its name and the process to the file `notes` in
  ENTREPOT_FAILPOINT_DIR

each optionally followed by `*n` (at most n times in this process), `@n` (not before the n-th time)
and `%p` (with probability p). With `ENTREPOT_FAILPOINT_DIR` set, the count is kept in that folder,
over all processes and their restarts, so that `kill*1` means once in the whole installation.

`ENTREPOT_FAILPOINTS=ask` is for one who hurts an installation while it runs: at every failpoint,
the first process that finds a file `<name>.armed` in ENTREPOT_FAILPOINT_DIR renames it to
`<name>.<pid>` and does what is written in it. `<name>.<word>.armed` is only for processes whose
command ends with that word, such as "api" or "dispatch".
"""

from __future__ import annotations

import errno
import os
import random
import re
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from entrepot_rpc.errors import Code, ServiceError

__all__ = ["NAMES", "arm", "configure", "failpoint"]

# Every failpoint there is; no other can be set, so that a sweep cannot miss one.
NAMES = (
    "create.decoded",
    "create.validated",
    "create.inserted",
    "create.committed",
    "claim.inserted",
    "claim.committed",
    "execute.noted",
    "execute.started",
    "execute.first_event",
    "execute.completed_received",
    "stage.locked",
    "stage.written",
    "stage.committed",
    "bytes.opened",
    "bytes.half_written",
    "bytes.complete",
    "bytes.renamed",
    "bytes.synced",
    "bytes.recorded",
    "commit.downloaded",
    "commit.workspace_locked",
    "commit.version_inserted",
    "commit.before_commit",
    "commit.committed",
    "collect.marked",
    "collect.condemned",
    "collect.waited",
    "collect.set_aside",
    "collect.deleted",
    "collect.discarded",
    "events.numbered",
    "take_over.deleted",
    "plugin.opened",
    "plugin.staged",
    "plugin.before_verdict",
)

_SETTING = "ENTREPOT_FAILPOINTS"
_FOLDER = "ENTREPOT_FAILPOINT_DIR"

_NUMBER = r"[0-9]{1,6}(\.[0-9]{1,6})?"
_ACTION = re.compile(
    r"(?P<kind>kill|stop|sleep|raise|fail|hold|drop_reply|note)(\((?P<argument>[^)]*)\))?"
    r"(\*(?P<most>\d+))?(@(?P<first>\d+))?(%(?P<probability>0|1|0?\.[0-9]{1,9}))?"
)


@dataclass
class _Action:
    kind: str
    argument: str
    most: int | None
    first: int
    probability: float
    seen: int = 0
    fired: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


_actions: dict[str, _Action] = {}
_ASK = "ask"
_HOLD_SECONDS = 60.0
_LOOK_SECONDS = 0.01


def arm() -> None:
    """Sets those of the environment, at the start of a process; ValueError as from `configure`."""
    text, folder = os.environ.get(_SETTING, ""), os.environ.get(_FOLDER, "")
    needs_folder = text.strip() == _ASK or re.search("=(hold|note)", text) or (text and folder)
    if needs_folder and not (folder and Path(folder).is_dir()):
        raise ValueError(f"{_FOLDER}: it must name a folder that is there.")
    configure(text)


def configure(text: str) -> None:
    """Sets the failpoints of this process; ValueError for a name or an action there is not."""
    actions = {}
    if text.strip() == _ASK:
        actions = {name: _Action(_ASK, "", None, 1, 1.0) for name in NAMES}
        text = ""
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, _, spelled = part.partition("=")
        if name not in NAMES:
            message = f"ENTREPOT_FAILPOINTS: no such failpoint or action: {part}"
            raise ValueError(message)
        actions[name] = _read(part, spelled)
    _actions.clear()
    _actions.update(actions)


def failpoint(name: str, *, reply: bool = False) -> None:
    """Does here what `ENTREPOT_FAILPOINTS` asks for; nothing if it does not.

    `reply=True` marks an instant at which work is done and its answer is not yet sent; only there
    does `drop_reply` apply.
    """
    action = _actions.get(name)
    if action is not None:
        _fire(name, action, reply=reply)


def _read(part: str, spelled: str) -> _Action:
    match = _ACTION.fullmatch(spelled)
    if match is None or not _means_something(match["kind"], match["argument"] or ""):
        message = f"ENTREPOT_FAILPOINTS: no such failpoint or action: {part}"
        raise ValueError(message)
    return _Action(
        kind=match["kind"],
        argument=match["argument"] or "",
        most=int(match["most"]) if match["most"] else None,
        first=int(match["first"] or 1),
        probability=float(match["probability"] or 1),
    )


def _means_something(kind: str, argument: str) -> bool:
    """Whether an action can do what is in its brackets."""
    if kind == "fail":
        return isinstance(getattr(errno, argument, None), int)
    return kind != "sleep" or not argument or re.fullmatch(_NUMBER, argument) is not None


def _fire(name: str, action: _Action, *, reply: bool) -> None:
    if action.kind == _ASK:
        _do(name, *_ask(name), reply=reply)
        return
    if action.kind == "drop_reply" and not reply:
        return
    with action.lock:
        action.seen += 1
        if action.seen < action.first or random.random() >= action.probability:  # noqa: S311  not a secret
            return
        if action.most is not None:
            action.fired = _count(name, action.fired)
            if action.fired > action.most:
                return
    _do(name, action.kind, action.argument, reply=reply)


def _ask(name: str) -> tuple[str, str]:
    """The kind and argument of what is armed for one process, if this is the first to come."""
    taken = _folder() / f"{name}.{os.getpid()}"
    for armed in (f"{name}.armed", f"{name}.{sys.argv[-1]}.armed"):
        try:
            (_folder() / armed).rename(taken)
            action = _read(name, taken.read_text())
        except FileNotFoundError:
            continue
        return action.kind, action.argument
    return "", ""


def _do(name: str, kind: str, argument: str, *, reply: bool) -> None:
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif kind == "sleep":
        time.sleep(float(argument or 1))
    elif kind == "hold":
        _hold(_folder() / f"{name}.{os.getpid()}")
    elif kind == "note":
        _append(_folder() / "notes", f"{time.monotonic():.6f} {name} {os.getpid()}\n")
    elif kind == "fail":
        number = getattr(errno, argument)
        raise OSError(number, f"{os.strerror(number)} (the failpoint {name} fired)")
    elif kind == "raise" or (kind == "drop_reply" and reply):
        raise ServiceError.of(
            Code.UNAVAILABLE, argument or "INTERNAL", f"The failpoint {name} fired."
        )


def _hold(path: Path) -> None:
    give_up = time.monotonic() + _HOLD_SECONDS
    while path.exists() and time.monotonic() < give_up:
        time.sleep(_LOOK_SECONDS)


def _folder() -> Path:
    return Path(os.environ[_FOLDER])


def _count(name: str, fired: int) -> int:
    # One byte appended is one firing; O_APPEND makes that safe between processes.
    folder = os.environ.get(_FOLDER)
    if not folder:
        return fired + 1
    return _append(Path(folder) / name, ".")


def _append(path: Path, text: str) -> int:
    """Appends to a file that others append to as well; returns how long it is then."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, text.encode())
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
