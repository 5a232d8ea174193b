"""Named instants at which a test, or an operator's drill, can make a process fail.

They cost a dict look-up when none is set.

`ENTREPOT_FAILPOINTS` is a list separated by ";" of `name=action`, where an action is one of

- `kill`: SIGKILL to this process
- `stop`: SIGSTOP to this process
- `sleep(seconds)`
- `raise`, `raise(reason)`: a ServiceError UNAVAILABLE with that reason
- `drop_reply`: the work is done, its answer is lost (only where `failpoint` is told it may)

each optionally followed by `*n` (at most n times in this process), `@n` (not before the n-th time)
and `%p` (with probability p). With `ENTREPOT_FAILPOINT_DIR` set, the count is kept in that folder,
over all processes and their restarts, so that `kill*1` means once in the whole installation.
"""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from entrepot_rpc.errors import Code, ServiceError

__all__ = ["NAMES", "configure", "failpoint"]

# Every failpoint there is; no other can be set, so that a sweep cannot miss one.
NAMES = (
    "create.decoded",
    "create.validated",
    "create.inserted",
    "create.committed",
    "claim.inserted",
    "claim.committed",
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
    "events.numbered",
    "take_over.deleted",
    "plugin.opened",
    "plugin.staged",
    "plugin.before_verdict",
)

_ACTION = re.compile(
    r"(?P<kind>kill|stop|sleep|raise|drop_reply)(\((?P<argument>[^)]*)\))?"
    r"(\*(?P<most>\d+))?(@(?P<first>\d+))?(%(?P<probability>[0-9.]+))?"
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


def configure(text: str) -> None:
    """Sets the failpoints of this process; ValueError for a name or an action there is not."""
    actions = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, _, spelled = part.partition("=")
        match = _ACTION.fullmatch(spelled)
        if name not in NAMES or match is None:
            message = f"ENTREPOT_FAILPOINTS: no such failpoint or action: {part}"
            raise ValueError(message)
        actions[name] = _Action(
            kind=match["kind"],
            argument=match["argument"] or "",
            most=int(match["most"]) if match["most"] else None,
            first=int(match["first"] or 1),
            probability=float(match["probability"] or 1),
        )
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


def _fire(name: str, action: _Action, *, reply: bool) -> None:
    if name not in NAMES or (action.kind == "drop_reply" and not reply):
        return
    with action.lock:
        action.seen += 1
        if action.seen < action.first or random.random() >= action.probability:  # noqa: S311  not a secret
            return
        if action.most is not None:
            action.fired = _count(name, action.fired)
            if action.fired > action.most:
                return
    if action.kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action.kind == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif action.kind == "sleep":
        time.sleep(float(action.argument or 1))
    else:
        raise ServiceError.of(
            Code.UNAVAILABLE, action.argument or "INTERNAL", f"The failpoint {name} fired."
        )


def _count(name: str, fired: int) -> int:
    # One byte appended is one firing; O_APPEND makes that safe between processes.
    folder = os.environ.get("ENTREPOT_FAILPOINT_DIR")
    if not folder:
        return fired + 1
    path = Path(folder) / name
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, b".")
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


configure(os.environ.get("ENTREPOT_FAILPOINTS", ""))
