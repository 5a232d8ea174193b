"""Tasks: creating and reading them. What runs them is in `queue`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg2

from entrepot_core.domain.errors import ResourceNotFoundError
from entrepot_core.store import creation_requests, prepared

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from entrepot_core.store.database import Cursor

__all__ = [
    "Absorbed",
    "EarlierRequest",
    "LostAttempt",
    "NewTask",
    "ResourceMissingError",
    "TaskFilter",
    "TaskRow",
    "absorb",
    "counters",
    "create",
    "find",
    "find_request",
    "get",
    "is_over",
    "page",
]

# The error of submit_task for a resource that is not there.
_RESOURCE_MISSING = "EN002"

# Classes of urgency, the most urgent first.
INTERACTIVE, NORMAL, BACKGROUND = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """A task to be stored.

    `locks` says of each resource, by its full name, whether it is exclusive; of `needed` all must
    be there once they are locked. `request_digest` tells requests of one id apart.
    """

    task_id: str
    task_type: str
    executor: str
    principal: str
    parameters_type: str
    parameters: bytes
    locks: dict[str, bool]
    is_repeatable: bool
    is_dry_run: bool
    needed: Sequence[str] = ()
    declaration_id: int | None = None
    request_id: str = ""
    request_digest: bytes = b""
    cloned_from: str | None = None
    priority: int = NORMAL
    origin_request: str = ""
    traceparent: str = ""
    keeps_going: bool = False
    only_failures: bool = False
    warnings: Sequence[bytes] = ()


class ResourceMissingError(Exception):
    """A resource that a task needs is not there; `name` is its full name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True, slots=True)
class Absorbed:
    """A task that answers a request; new, if the request was not made before."""

    task_id: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class EarlierRequest:
    """A request id that was used: for which request, and what that made or was answered with."""

    request_id: str
    digest: bytes
    task_id: str
    resource: str
    # The task was there, and answered it.
    is_absorbed: bool

    def check(self, digest: bytes) -> None:
        """Raises RequestIdReusedError unless it was the request of this digest."""
        made = self.resource or f"tasks/{self.task_id}"
        creation_requests.check(self.request_id, digest, self.digest, made)


@dataclass(frozen=True, slots=True)
class LostAttempt:
    """An attempt that did not end its task."""

    number: int
    reason: str
    is_counted: bool
    started_at: datetime | None
    ended_at: datetime
    resumes_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """A task as it is."""

    task_id: str
    task_type: str
    executor: str
    state: str
    waits_for: int
    parked: bool
    priority: int
    effective_priority: int
    attempt: int
    cancel_requested: bool
    is_repeatable: bool
    is_dry_run: bool
    changed: bool | None
    created_resource: str
    cloned_from: str | None
    created_at: datetime
    first_ready_at: datetime | None = None
    not_before: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    principal: str
    request_id: str
    declaration_id: int | None
    parameters_type: str
    parameters: bytes
    result_type: str
    result: bytes
    error: bytes | None
    differences: list[bytes]
    counters: list[bytes]
    warnings: list[bytes]
    # The request that made it and its trace context; empty if there was none.
    origin_request: str = ""
    traceparent: str = ""
    keeps_going: bool = False
    only_failures: bool = False
    failures: int = 0
    unchanged_reason: str = ""
    resources: list[str] = field(default_factory=list)
    commits: str | None = None
    absorbed: int = 0
    # Whether there are limits of tasks at all.
    may_be_limited: bool = False
    lost_attempts: list[LostAttempt] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"tasks/{self.task_id}"

    @property
    def is_over(self) -> bool:
        return self.ended_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """Which tasks a list has; what is empty does not restrict."""

    state: str = ""
    task_type: str = ""
    plugin: str = ""
    resource: str = ""
    cloned_from: str = ""
    created_resource: str = ""
    commits: str = ""
    # None: any.
    priority: int | None = None


_COLUMNS = """
  t.task_id::text, t.task_type, p.name, t.state, t.waits_for, t.parked, t.priority, t.class,
  t.attempt, t.cancel_requested, t.is_repeatable, t.is_dry_run, t.changed, t.created_resource,
  t.cloned_from::text, t.created_at, coalesce(t.first_ready_at, t.ready_at), t.not_before,
  t.started_at, t.ended_at, d.principal, d.request_id, d.declaration_id, d.origin_request,
  d.traceparent, d.keeps_going, d.only_failures, coalesce(g.failures, 0),
  coalesce(g.unchanged_reason, ''),
  d.parameters_type, d.parameters, d.result_type, d.result, d.error, d.differences,
  coalesce(g.counters, '{}'), coalesce(g.warnings, '{}'),
  array(SELECT r.name FROM (SELECT resource_id FROM task_resource
                             WHERE task_id = t.task_id OFFSET 0) w
         CROSS JOIN LATERAL (SELECT name FROM resource WHERE resource_id = w.resource_id LIMIT 1) r
         ORDER BY r.name),
  EXISTS (SELECT FROM lost_attempt l WHERE l.task_id = t.task_id),
  d.commits::text, d.absorbed, EXISTS (SELECT FROM task_limit)
"""
_NAMES = [
    "task_id",
    "task_type",
    "executor",
    "state",
    "waits_for",
    "parked",
    "priority",
    "effective_priority",
    "attempt",
    "cancel_requested",
    "is_repeatable",
    "is_dry_run",
    "changed",
    "created_resource",
    "cloned_from",
    "created_at",
    "first_ready_at",
    "not_before",
    "started_at",
    "ended_at",
    "principal",
    "request_id",
    "declaration_id",
    "origin_request",
    "traceparent",
    "keeps_going",
    "only_failures",
    "failures",
    "unchanged_reason",
    "parameters_type",
    "parameters",
    "result_type",
    "result",
    "error",
    "differences",
    "counters",
    "warnings",
    "resources",
    "has_lost_attempts",
    "commits",
    "absorbed",
    "may_be_limited",
]
_FROM = """
  FROM task t JOIN task_detail d USING (task_id) JOIN plugin p USING (plugin_id)
  LEFT JOIN progress g USING (task_id)
"""


def find_request(cursor: Cursor, principal: str, request_id: str) -> EarlierRequest | None:
    """The request that a request id was used for before, or None."""
    cursor.execute(
        "SELECT q.digest, q.task_id::text, q.resource,"
        " coalesce(d.request_id <> q.request_id, false)"
        " FROM creation_request q LEFT JOIN task_detail d USING (task_id)"
        " WHERE q.principal = %s AND q.request_id = %s",
        (principal, request_id),
    )
    row = cursor.fetchone()
    if row is None:
        return None
    digest, task_id, resource, is_absorbed = row
    return EarlierRequest(request_id, bytes(digest), task_id, resource, is_absorbed)


def create(cursor: Cursor, task: NewTask) -> str:
    """Stores a task in its queues, and returns its id, or that of the task made by its request.

    Its resources stay locked until the transaction ends. Raises ResourceMissingError if one of
    those needed is not there now that they are, RequestIdReusedError if the request id was used
    for another request; one under way with the same id is waited for.
    """
    # Functions see what was committed while they waited for locks; a plain statement would not.
    try:
        prepared.execute(
            cursor,
            "WITH made AS MATERIALIZED ("
            "SELECT * FROM submit_task(%s::uuid, %s, %s, %s, %s, %s, %s::uuid,"
            " %s::text[], %s::boolean[], %s::text[], %s, %s, %s::bytea)"
            "), detail AS ("
            "INSERT INTO task_detail (task_id, principal, request_id, declaration_id,"
            " parameters_type, parameters, origin_request, traceparent, keeps_going,"
            " only_failures)"
            " SELECT task_id, %s::text, %s::text, %s::bigint, %s::text, %s::bytea, %s::text,"
            " %s::text, %s::boolean, %s::boolean FROM made WHERE earlier_digest IS NULL"
            "), said AS ("
            "INSERT INTO progress (task_id, warnings) SELECT task_id, %s::bytea[] FROM made"
            " WHERE earlier_digest IS NULL AND %s::boolean"
            ") SELECT task_id::text, earlier_digest FROM made",
            (
                task.task_id,
                task.executor,
                task.task_type,
                task.priority,
                task.is_repeatable,
                task.is_dry_run,
                task.cloned_from,
                list(task.locks),
                list(task.locks.values()),
                list(task.needed),
                task.principal,
                task.request_id,
                task.request_digest,
                task.principal,
                task.request_id,
                task.declaration_id,
                task.parameters_type,
                task.parameters,
                task.origin_request,
                task.traceparent,
                task.keeps_going,
                task.only_failures,
                list(task.warnings),
                bool(task.warnings),
            ),
        )
    except psycopg2.Error as error:
        if error.pgcode == _RESOURCE_MISSING:
            raise ResourceMissingError(str(error.diag.message_primary)) from error
        raise
    made, earlier_digest = cursor.fetchone() or ("", None)
    if earlier_digest is not None:
        _check_request(task.request_id, task.request_digest, made, bytes(earlier_digest))
    return str(made)


def absorb(cursor: Cursor, task: NewTask) -> Absorbed | None:
    """The task that waits and would do the same, or that the same request made before; or None.

    What was found stays locked until the transaction ends. Raises RequestIdReusedError.
    """
    cursor.execute(
        "SELECT task_id::text, earlier_digest FROM absorb_task(%s, %s, %s, %s::uuid, %s::text[],"
        " %s::boolean[], %s, %s, %s::bytea, %s, %s::bytea, %s, %s)",
        (
            task.task_type,
            task.priority,
            task.is_dry_run,
            task.cloned_from,
            list(task.locks),
            list(task.locks.values()),
            task.principal,
            task.request_id,
            task.request_digest,
            task.declaration_id,
            task.parameters,
            task.keeps_going,
            task.only_failures,
        ),
    )
    row = cursor.fetchone()
    if row is None:
        return None
    task_id, earlier_digest = row
    if earlier_digest is not None:
        _check_request(task.request_id, task.request_digest, task_id, bytes(earlier_digest))
    return Absorbed(task_id, is_new=earlier_digest is None)


def find(cursor: Cursor, task_id: str) -> TaskRow | None:
    """The task of an id, or None."""
    prepared.execute(cursor, f"SELECT {_COLUMNS} {_FROM} WHERE t.task_id = %s::uuid", (task_id,))
    rows = _rows(cursor)
    return rows[0] if rows else None


def get(cursor: Cursor, task_id: str) -> TaskRow:
    """As `find`; raises ResourceNotFoundError."""
    row = find(cursor, task_id)
    if row is None:
        raise ResourceNotFoundError.of_name(f"tasks/{task_id}")
    return row


def is_over(cursor: Cursor, task_id: str) -> bool:
    """Whether the task has ended, at less cost than `get`; raises ResourceNotFoundError."""
    cursor.execute("SELECT ended_at IS NOT NULL FROM task WHERE task_id = %s::uuid", (task_id,))
    row = cursor.fetchone()
    if row is None:
        raise ResourceNotFoundError.of_name(f"tasks/{task_id}")
    return bool(row[0])


def page(cursor: Cursor, wanted: TaskFilter, size: int, before: str | None) -> list[TaskRow]:
    """At most `size` tasks, newest first, older than the task `before`."""
    conditions, parameters = _conditions(wanted)
    if before is not None:
        conditions.append("t.task_id < %s::uuid")
        parameters.append(before)
    where = " AND ".join(conditions) or "true"
    cursor.execute(
        f"SELECT {_COLUMNS} {_FROM} WHERE {where} ORDER BY t.task_id DESC LIMIT %s",
        (*parameters, size),
    )
    return _rows(cursor)


def counters(cursor: Cursor, task_ids: Sequence[str]) -> dict[str, list[bytes]]:
    """What tasks last said of their progress, as serialised messages; by task, where any has."""
    cursor.execute(
        "SELECT task_id::text, counters FROM progress WHERE task_id = ANY(%s::uuid[])",
        (list(task_ids),),
    )
    return {task_id: [bytes(one) for one in found] for task_id, found in cursor.fetchall()}


def _check_request(request_id: str, digest: bytes, made: str, earlier: bytes) -> None:
    creation_requests.check(request_id, digest, earlier, f"tasks/{made}")


def _conditions(wanted: TaskFilter) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    parameters: list[Any] = []
    for condition, value in (
        ("t.state = %s", wanted.state),
        ("t.task_type = %s", wanted.task_type),
        ("split_part(t.task_type, '/', 1) = %s", wanted.plugin),
        ("t.cloned_from = %s::uuid", wanted.cloned_from),
        ("d.commits = %s::uuid", wanted.commits),
        ("t.created_resource = %s AND t.created_resource <> ''", wanted.created_resource),
        (
            (
                "t.task_id IN (SELECT task_id FROM task_resource"
                " JOIN resource USING (resource_id) WHERE name = %s)"
            ),
            wanted.resource,
        ),
    ):
        if value:
            conditions.append(condition)
            parameters.append(value)
    if wanted.priority is not None:
        # An index has those that are not normal; normal ones are everywhere.
        conditions.append("t.priority = %s")
        conditions += ["t.priority <> 1"] if wanted.priority != NORMAL else []
        parameters.append(wanted.priority)
    return conditions, parameters


def _rows(cursor: Cursor) -> list[TaskRow]:
    rows = []
    losers = {}
    for values in cursor.fetchall():
        named = dict(zip(_NAMES, values, strict=True))
        for key in ("parameters", "result"):
            named[key] = bytes(named[key])
        named["error"] = None if named["error"] is None else bytes(named["error"])
        for key in ("differences", "counters", "warnings"):
            named[key] = [bytes(item) for item in named[key]]
        has_lost = named.pop("has_lost_attempts")
        row = TaskRow(**named)
        rows.append(row)
        if has_lost:
            losers[row.task_id] = row
    if losers:
        cursor.execute(
            "SELECT task_id::text, number, reason, is_counted, started_at, ended_at,"
            " resumes_at FROM lost_attempt WHERE task_id = ANY(%s::uuid[])"
            " ORDER BY task_id, number",
            (list(losers),),
        )
        for task_id, *lost in cursor.fetchall():
            losers[task_id].lost_attempts.append(LostAttempt(*lost))
    return rows
