"""The queue: claiming ready tasks, ending attempts, canceling.

The statements behind it are functions of 0001_engine.sql.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from entrepot_core.domain.errors import AttemptSupersededError
from entrepot_core.domain.task import State, judge
from entrepot_core.store import prepared

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from entrepot_core.domain.errors import ServiceError
    from entrepot_core.domain.task import Loss
    from entrepot_core.store.database import Cursor

__all__ = [
    "Claimed",
    "Outcome",
    "cancel",
    "claim",
    "claim_at_once",
    "end_unowned",
    "finish",
    "is_cancel_requested",
    "lock_workspace",
    "locks",
    "lose",
    "note_execution",
    "owned_workspaces",
    "write_progress",
]


@dataclass(frozen=True, slots=True)
class Claimed:
    """An attempt that may start."""

    workspace_id: int
    task_id: str
    attempt: int
    token_digest: bytes
    task_type: str
    is_dry_run: bool
    declaration_id: int | None
    parameters_type: str
    parameters: bytes
    origin_request: str
    traceparent: str
    principal: str
    # The resource that it changes, or reads if it changes none, by its number; 0: none.
    lane: int = 0
    # The dry run whose plan is to be committed.
    commits: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a task ends; messages are serialised."""

    state: State
    error: bytes | None = None
    result_type: str = ""
    result: bytes = b""
    differences: Sequence[bytes] = field(default_factory=tuple)
    created_resource: str = ""
    changed: bool | None = None


def claim(cursor: Cursor, dispatcher_id: int, token_digests: Sequence[bytes]) -> list[Claimed]:
    """Makes an attempt of as many ready tasks as there are tokens, in the order of the queue."""
    return _claim(cursor, dispatcher_id, token_digests, waits=True) or []


def claim_at_once(
    cursor: Cursor, dispatcher_id: int, token_digests: Sequence[bytes]
) -> list[Claimed] | None:
    """As `claim`, but None if somebody else claims at the moment, who would have to be awaited."""
    return _claim(cursor, dispatcher_id, token_digests, waits=False)


def _claim(
    cursor: Cursor, dispatcher_id: int, token_digests: Sequence[bytes], *, waits: bool
) -> list[Claimed] | None:
    cursor.execute(
        "SELECT task_id::text, workspace_id, attempt, token_digest"
        " FROM claim_ready(%s, %s, %s::bytea[], %s)",
        (dispatcher_id, len(token_digests), list(token_digests), waits),
    )
    claimed = {row[0]: row[1:] for row in cursor.fetchall()}
    if None in claimed:
        return None
    if not claimed:
        return []
    # A statement of its own: the one before may have waited for tasks that it does not see.
    prepared.execute(
        cursor,
        "SELECT t.task_id::text, t.task_type, t.is_dry_run, d.declaration_id, d.parameters_type,"
        " d.parameters, d.origin_request, d.traceparent, d.principal, d.commits::text, t.lane"
        " FROM unnest(%s::text[]) WITH ORDINALITY AS u(task_id, place)"
        " CROSS JOIN LATERAL (SELECT * FROM task WHERE task_id = u.task_id::uuid LIMIT 1) t"
        " CROSS JOIN LATERAL (SELECT * FROM task_detail WHERE task_id = u.task_id::uuid LIMIT 1) d"
        " ORDER BY u.place",
        (list(claimed),),
    )
    return [
        Claimed(
            workspace_id=claimed[task_id][0],
            task_id=task_id,
            attempt=claimed[task_id][1],
            token_digest=bytes(claimed[task_id][2]),
            task_type=task_type,
            is_dry_run=is_dry_run,
            declaration_id=declaration_id,
            parameters_type=parameters_type,
            parameters=bytes(parameters),
            origin_request=origin_request,
            traceparent=traceparent,
            principal=principal,
            lane=lane,
            commits=commits,
        )
        for (
            task_id, task_type, is_dry_run, declaration_id, parameters_type, parameters,
            origin_request, traceparent, principal, commits, lane,
        ) in cursor.fetchall()
    ]  # fmt: skip


def lock_workspace(cursor: Cursor, workspace_id: int) -> None:
    """Holds off take-over and staging until the end; AttemptSupersededError if it is gone."""
    prepared.execute(
        cursor, "SELECT FROM workspace WHERE workspace_id = %s FOR UPDATE", (workspace_id,)
    )
    if cursor.fetchone() is None:
        raise AttemptSupersededError("Another attempt owns the task now.")


def locks(cursor: Cursor, task_id: str) -> dict[str, bool]:
    """The full names of the resources that a task locks, and whether exclusively."""
    cursor.execute(
        "SELECT r.name, t.is_exclusive FROM task_resource t JOIN resource r USING (resource_id)"
        " WHERE t.task_id = %s::uuid",
        (task_id,),
    )
    return dict(cursor.fetchall())


def note_execution(cursor: Cursor, workspace_id: int, task_id: str) -> None:
    """Notes that from now on the plugin may act, and that nobody may make it act again.

    Raises AttemptSupersededError if another attempt owns the task.
    """
    lock_workspace(cursor, workspace_id)
    cursor.execute(
        "UPDATE task SET executed_attempt = attempt WHERE task_id = %s::uuid", (task_id,)
    )


def finish(cursor: Cursor, workspace_id: int, task_id: str, outcome: Outcome) -> None:
    """Ends the task of an attempt, gives up its locks, and deletes the workspace.

    Raises AttemptSupersededError if the attempt is not the current one: roll back.
    """
    cursor.execute(
        "SELECT finish_task(%s, %s::uuid, %s, %s, %s, %s, %s, %s, %s::bytea[])",
        (
            workspace_id,
            task_id,
            outcome.state.value,
            outcome.created_resource,
            outcome.changed,
            outcome.result_type,
            outcome.result,
            outcome.error,
            list(outcome.differences),
        ),
    )
    row = cursor.fetchone()
    if row is None or not row[0]:
        raise AttemptSupersededError("Another attempt owns the task now.")


def lose(
    cursor: Cursor,
    task_id: str,
    loss: Loss,
    encode: Callable[[ServiceError], bytes],
    *,
    canceled: ServiceError,
    workspace_id: int | None,
) -> State:
    """Ends an attempt that did not end its task: it is repeated, or ends. Returns its state.

    `workspace_id` None: a crash of the database took the workspace. A task that was asked to stop
    ends with `canceled`. Raises AttemptSupersededError if the attempt is not the current one.
    """
    if workspace_id is not None:
        lock_workspace(cursor, workspace_id)
    cursor.execute(
        "SELECT executed_attempt IS DISTINCT FROM attempt,"
        " (SELECT count(*) FROM lost_attempt l WHERE l.task_id = t.task_id"
        " AND l.is_counted) FROM task t WHERE task_id = %s::uuid",
        (task_id,),
    )
    may_repeat, counted = cursor.fetchone() or (True, 0)
    verdict = judge(loss, may_repeat=may_repeat, counted_before=counted)
    if verdict.error is None:
        if workspace_id is not None:
            cursor.execute("DELETE FROM workspace WHERE workspace_id = %s", (workspace_id,))
        cursor.execute(
            "SELECT repeat_task(%s::uuid, %s, %s, make_interval(secs => %s))",
            (task_id, loss.reason, loss.is_counted, verdict.delay_seconds),
        )
        if (cursor.fetchone() or (False,))[0]:
            cursor.execute(
                "UPDATE lost_attempt l SET resumes_at = t.not_before, was_executed ="
                " t.executed_attempt IS NOT DISTINCT FROM t.attempt AND NOT %s FROM task t"
                " WHERE t.task_id = %s::uuid AND l.task_id = t.task_id AND l.number = t.attempt",
                (loss.never_ran, task_id),
            )
            return State.WAITING
        # Somebody has asked for it to stop: nothing is to be repeated.
    error = verdict.error
    state = State.FAILED
    cursor.execute("SELECT cancel_requested FROM task WHERE task_id = %s::uuid", (task_id,))
    if (cursor.fetchone() or (False,))[0]:
        state, error = State.CANCELED, canceled
    if workspace_id is not None:
        cursor.execute("DELETE FROM workspace WHERE workspace_id = %s", (workspace_id,))
    end_unowned(cursor, task_id, state, encode(error or canceled))
    cursor.execute(
        "INSERT INTO lost_attempt (task_id, number, reason, is_counted, started_at)"
        " SELECT task_id, attempt, %s, %s, started_at FROM task WHERE task_id = %s::uuid"
        " ON CONFLICT DO NOTHING",
        (loss.reason, loss.is_counted, task_id),
    )
    return state


def end_unowned(cursor: Cursor, task_id: str, state: State, error: bytes | None) -> str | None:
    """Ends a task that no attempt owns; returns the state it had, if it exists."""
    cursor.execute("SELECT end_unowned_task(%s::uuid, %s, %s)", (task_id, state.value, error))
    return _first(cursor)


def cancel(cursor: Cursor, task_id: str, error: bytes) -> str | None:
    """Ends a waiting task, asks a running one to stop; returns the state it had, if it exists."""
    cursor.execute("SELECT cancel_task(%s::uuid, %s)", (task_id, error))
    return _first(cursor)


def is_cancel_requested(cursor: Cursor, task_ids: Sequence[str]) -> set[str]:
    """Those of these tasks that a user has asked to stop."""
    cursor.execute(
        "SELECT task_id::text FROM task WHERE task_id = ANY(%s::uuid[]) AND cancel_requested",
        (list(task_ids),),
    )
    return {row[0] for row in cursor.fetchall()}


def owned_workspaces(cursor: Cursor, dispatcher_id: int) -> list[tuple[int, str]]:
    """Number and task of every workspace that a dispatcher runs."""
    cursor.execute(
        "SELECT workspace_id, task_id::text FROM workspace WHERE dispatcher_id = %s"
        " ORDER BY workspace_id",
        (dispatcher_id,),
    )
    return list(cursor.fetchall())


def write_progress(
    cursor: Cursor,
    task_id: str,
    attempt: int,
    counters: Sequence[bytes],
    warnings: Sequence[bytes],
    *,
    failures: int = 0,
    unchanged_reason: str = "",
    waits: bool = True,
) -> bool:
    """Replaces what a running task says of itself and appends warnings; a crash may lose it.

    False, and nothing is written, unless the attempt is the current one: nothing may be said of a
    task after its end. Without waiting also if somebody holds its workspace.
    """
    cursor.execute("SET LOCAL synchronous_commit = off")
    how = "" if waits else "SKIP LOCKED"
    cursor.execute(
        "WITH mine AS ("
        "  SELECT task_id FROM workspace WHERE task_id = %(task)s::uuid AND attempt = %(attempt)s"
        f"  FOR KEY SHARE {how}"
        "), told AS ("
        "  INSERT INTO progress (task_id, counters, warnings, failures, unchanged_reason)"
        "  SELECT task_id, %(counters)s::bytea[], %(warnings)s::bytea[], %(failures)s,"
        "         %(unchanged_reason)s FROM mine"
        "  ON CONFLICT (task_id) DO UPDATE SET counters = EXCLUDED.counters,"
        "  warnings = progress.warnings || EXCLUDED.warnings, failures = EXCLUDED.failures,"
        "  unchanged_reason = EXCLUDED.unchanged_reason)"
        " INSERT INTO event_inbox (task_id, kind) SELECT task_id, 'progressed' FROM mine",
        {
            "task": task_id,
            "attempt": attempt,
            "counters": list(counters),
            "warnings": list(warnings),
            "failures": failures,
            "unchanged_reason": unchanged_reason,
        },
    )
    return cursor.rowcount == 1


def _first(cursor: Cursor) -> str | None:
    row = cursor.fetchone()
    return None if row is None or row[0] is None else str(row[0])
