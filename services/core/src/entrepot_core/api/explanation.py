"""Why a task is where it is: what it waits for, in turn, and how far it is; as data and in words.

Reads what was written when states changed; costs a few look-ups for each step of the chain.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from google.rpc import status_pb2

from entrepot.core.v1 import difference_pb2, task_service_pb2
from entrepot.type.v1 import progress_pb2
from entrepot_core.api.blocking import blocker_of, other_blockers
from entrepot_core.api.task_message import STATES, progress_messages
from entrepot_core.domain import words
from entrepot_core.domain.waiting import Cause, History, Try, account
from entrepot_core.store import dispatchers, plugins, tasks, waits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from entrepot_core.store.database import Cursor
    from entrepot_core.store.tasks import TaskRow

__all__ = ["explain"]

MAX_STEPS = 10
MAX_BLOCKERS = 100
# A task that tells no progress for so long is said to.
QUIET = timedelta(seconds=30)

_Blocker = task_service_pb2.Task.Blocker
_CAUSES = {
    Cause.LOCKS: _Blocker.CAUSE_HELD,
    Cause.PLUGIN_DOWN: _Blocker.CAUSE_PLUGIN_DOWN,
    Cause.PLACE: _Blocker.CAUSE_PLUGIN_FULL,
    Cause.BACK_OFF: _Blocker.CAUSE_BACK_OFF,
}
_SPENT = (
    (Cause.LOCKS, "for locks"),
    (Cause.PLUGIN_DOWN, "for a plugin that was down"),
    (Cause.PLACE, "for a place to run in"),
    (Cause.BACK_OFF, "between attempts"),
)
_TOLD_ATTEMPTS = 3


def explain(cursor: Cursor, row: TaskRow) -> task_service_pb2.Explanation:
    """Why this task is where it is."""
    now = waits.now(cursor)
    explanation = task_service_pb2.Explanation(task=row.name, state=STATES[row.state])
    spent = account(_history(row, now), waits.outages(cursor, row.executor, row.created_at))
    for cause, length in spent.items():
        explanation.waits.add(cause=_CAUSES[cause]).duration.FromTimedelta(length)
    progress = progress_messages(row, now)
    moved = [one.change_time.ToDatetime(UTC) for one in progress if one.HasField("change_time")]
    if moved:
        explanation.progress_time.FromDatetime(max(moved))
    if row.state == "waiting":
        chain, ready = _chain(cursor, row)
        explanation.blocked_by.extend(link.blocker for link in chain)
        sentences = _of_waiting(cursor, row, chain, ready, now)
    elif row.state == "running":
        sentences = _of_running(row, progress, max(moved, default=None), now)
    else:
        sentences = _of_ended(row, now)
    explanation.sentences.extend(sentences)
    if spent:
        is_limited = any(one.cause == _Blocker.CAUSE_LIMIT for one in explanation.blocked_by)
        explanation.sentences.append(_spent(spent, row, is_limited=is_limited))
    return explanation


@dataclass(frozen=True, slots=True)
class _Link:
    """A step of the chain; `block` if another task is in the way."""

    blocker: task_service_pb2.Task.Blocker
    block: waits.Block | None = None


def _chain(cursor: Cursor, row: TaskRow) -> tuple[list[_Link], list[TaskRow]]:
    """What the task waits for, then what those wait for; each resource once.

    At its ends may be tasks that nothing is in the way of; they come apart.
    """
    found: list[_Link] = []
    ready: list[TaskRow] = []
    seen, told = {row.task_id}, set[str]()
    waiting = [row.task_id]
    for step in range(MAX_STEPS):
        blocks = waits.of(cursor, waiting, counted=not step)
        new = [block for block in blocks if block.resource not in told]
        told.update(block.resource for block in blocks)
        found += [_Link(blocker_of(block), block) for block in new]
        for task_id in set(waiting) - {block.waiting for block in blocks}:
            other = row if task_id == row.task_id else tasks.find(cursor, task_id)
            if other is not None and other.state == "waiting" and not other.waits_for:
                others = other_blockers(cursor, other)
                found += map(_Link, others)
                ready += [] if others else [other]
        ahead = dict.fromkeys(block.task_id for block in new if not block.is_running)
        waiting = [task_id for task_id in ahead if task_id not in seen]
        seen.update(waiting)
        if not waiting or len(found) >= MAX_BLOCKERS:
            break
    return found[:MAX_BLOCKERS], ready if found or ready else [row]


def _of_waiting(
    cursor: Cursor,
    row: TaskRow,
    chain: Sequence[_Link],
    ready: Sequence[TaskRow],
    now: datetime,
) -> Iterator[str]:
    blocking = [link.block.task_id for link in chain if link.block is not None]
    counters = tasks.counters(cursor, blocking)
    for link in chain:
        one, block = link.blocker, link.block
        subject = _subject(row, one.waiting)
        if block is None:
            ago = ""
            if one.HasField("since") and one.cause == _Blocker.CAUSE_PLUGIN_DOWN:
                since = one.since.ToDatetime(UTC)
                ago = f" It has been so since {words.instant(since)}, for "
                ago += f"{words.length(now - since)}."
            yield f"{subject} waits. {one.message}{ago}"
        elif block.is_holder:
            place = f"; {_place(block.place)}" if block.place else ""
            who = _who(block, counters.get(block.task_id, ()), now)
            yield f"{subject} waits for {block.resource}, which {who} holds{place}."
        else:
            whom = subject.replace("It", "it")
            yield f"Next before {whom} in the queue for {block.resource}: {_who(block, (), now)}."
    there = dispatchers.alive(cursor) if ready else []
    for other in ready[:MAX_BLOCKERS]:
        yield _of_ready(there, other, _subject(row, other.name))
    yield from _of_lost(row)


def _subject(row: TaskRow, name: str) -> str:
    return "It" if name == row.name else name


def _of_ready(there: Sequence[dispatchers.DispatcherRow], row: TaskRow, subject: str) -> str:
    if not there:
        return f"{subject} waits for a dispatcher, and none runs: start `entrepot-core dispatch`."
    alive = [one for one in there if not one.is_silent]
    if not alive:
        return (
            f"{subject} waits for a dispatcher, and none says anything: "
            "`entrepot status` has more."
        )
    if all(one.running >= one.slots for one in alive):
        return f"{subject} waits for its turn: every dispatcher runs as many tasks as it may."
    if row.executor == plugins.CORE:
        return f"{subject} waits for its turn among the tasks that core does itself."
    whose = "its" if subject == "It" else f"{subject}'s"
    return f"Nothing is in {whose} way: it starts in a moment."


def _of_running(
    row: TaskRow, progress: list[progress_pb2.Progress], moved: datetime | None, now: datetime
) -> Iterator[str]:
    started = row.started_at or now
    attempt = f", in attempt {row.attempt}" if row.attempt > 1 else ""
    yield f"It has been running for {words.length(now - started)}{attempt}."
    if row.cancel_requested:
        yield "Somebody has asked for it to stop."
    for one in progress:
        yield f"{one.message or one.code}: {_amount(one)}."
    if moved is None and now - started >= QUIET:
        yield f"It has told of no progress since it started, {words.length(now - started)} ago."
    elif moved is not None and now - moved >= QUIET:
        yield f"No progress since {words.instant(moved)}, {words.length(now - moved)} ago."
    yield from _of_lost(row)


def _of_lost(row: TaskRow) -> Iterator[str]:
    for lost in row.lost_attempts[-_TOLD_ATTEMPTS:]:
        yield f"Attempt {lost.number} ended at {words.instant(lost.ended_at)}: {lost.reason}"


def _of_ended(row: TaskRow, now: datetime) -> Iterator[str]:
    ended = row.ended_at or now
    yield f"It {_ENDS[row.state]} {words.length(now - ended)} ago, at {words.instant(ended)}."
    if row.error is not None:
        yield status_pb2.Status.FromString(row.error).message
    if row.created_resource:
        yield f"It created {row.created_resource}."
    if row.failures:
        left_out = " and were left out" if row.state == "completed" else ""
        yield f"{row.failures:,} of its units failed{left_out}; its failures are listed."
    if row.unchanged_reason:
        to_do = "would be" if row.is_dry_run else "was"
        yield f"There {to_do} nothing to do: {row.unchanged_reason}"
    differences = [difference_pb2.Difference.FromString(one) for one in row.differences]
    for one in differences:
        if not one.changed:
            would = "would change" if row.is_dry_run else "changed"
            yield f"Nothing {would} in {one.repository}: {one.unchanged_reason}"


_ENDS = {"completed": "completed", "failed": "failed", "canceled": "was canceled"}


def _who(block: waits.Block, counters: Iterable[bytes], now: datetime) -> str:
    doing = "running" if block.is_running else "waiting itself"
    share = _share([progress_pb2.Progress.FromString(one) for one in counters])
    length = words.length(now - block.since)
    return f"tasks/{block.task_id} ({block.task_type}, {doing} for {length}{share})"


def _share(progress: Iterable[progress_pb2.Progress]) -> str:
    """How much of the last phase that has a total is done."""
    with_total = [one for one in progress if one.total > 0]
    if not with_total:
        return ""
    last = with_total[-1]
    return f", {100 * min(last.done, last.total) // last.total} % done"


def _amount(one: progress_pb2.Progress) -> str:
    unit = " bytes" if one.unit == progress_pb2.Progress.UNIT_BYTES else ""
    text = f"{one.done:,}"
    if one.HasField("total"):
        text += f" of {one.total:,}"
    text += unit
    if one.rate:
        text += f", {one.rate:,.1f} a second"
    if one.HasField("estimated_end_time"):
        text += f", done at about {words.instant(one.estimated_end_time.ToDatetime(UTC))}"
    return text


def _place(number: int) -> str:
    if number > waits.MAX_PLACE:
        return f"there are more than {waits.MAX_PLACE:,} before it in that queue"
    return f"it is number {number:,} in that queue"


def _spent(spent: dict[Cause, timedelta], row: TaskRow, *, is_limited: bool) -> str:
    so_far = " so far" if row.state == "waiting" else ""
    texts = dict(_SPENT)
    if is_limited:
        texts[Cause.PLACE] = "for a place to run in, which a limit of the operator keeps from it"
    parts = ", ".join(
        f"{words.length(spent[one])} {text}" for one, text in texts.items() if one in spent
    )
    return f"It has waited{so_far}: {parts}."


def _history(row: TaskRow, now: datetime) -> History:
    tries = [
        Try(lost.started_at, lost.ended_at, lost.resumes_at)
        for lost in row.lost_attempts
        if lost.started_at is not None
    ]
    is_started = row.started_at is not None and row.attempt > len(row.lost_attempts)
    if is_started and row.started_at is not None:
        tries.append(Try(row.started_at))
    return History(row.created_at, row.first_ready_at, tries, row.ended_at or now)
