"""Plans: what dry runs found, kept until somebody commits it or its time is up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from entrepot_core.domain.errors import (
    AttemptSupersededError,
    BaseMovedError,
    PlanApprovedError,
    PlanMissingError,
    Precondition,
)
from entrepot_core.store import labels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from entrepot_core.store.database import Cursor

__all__ = [
    "ADDITION",
    "REMOVAL",
    "REPLACEMENT",
    "Move",
    "PlanRow",
    "PlannedUnit",
    "approve",
    "check_base",
    "check_counts",
    "count_items",
    "find",
    "forget",
    "hints",
    "moves",
    "page",
    "page_of_items",
    "stage",
]

ADDITION, REPLACEMENT, REMOVAL = 1, 2, 3

_TABLES = (
    "plan_item",
    "plan_unit",
    "plan_edge",
    "plan_file",
    "plan_publication",
    "plan_repository",
)


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A plan that is kept, and the task that commits it."""

    approved_by: str | None
    made_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Move:
    """A repository that has changed since; `latest` is None if it was deleted."""

    repository: str
    base: int
    latest: int | None
    task_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedUnit:
    """A unit that would come or leave; `position` is its place in the list."""

    position: tuple[int, int, int]
    repository: str
    unit: str
    label: str
    replaces: str
    files: int
    size_bytes: int
    fetch_files: int
    source_host: str

    @property
    def change(self) -> int:
        return self.position[0]


def find(cursor: Cursor, task_id: str) -> PlanRow | None:
    """The plan of a dry run; None if it has none, or not any more."""
    cursor.execute(
        "SELECT approved_by::text, made_at, expires_at FROM plan"
        " WHERE task_id = %s::uuid AND expires_at > now()",
        (task_id,),
    )
    row = cursor.fetchone()
    return None if row is None else PlanRow(*row)


def approve(cursor: Cursor, plan: str, task_id: str) -> None:
    """Lets a new task commit a plan, which nobody else then may.

    Raises PlanMissingError, PlanApprovedError and BaseMovedError.
    """
    cursor.execute(
        "SELECT p.approved_by::text, t.state FROM plan p"
        " LEFT JOIN task t ON t.task_id = p.approved_by"
        " WHERE p.task_id = %s::uuid AND p.expires_at > now() FOR UPDATE OF p",
        (plan,),
    )
    row = cursor.fetchone()
    if row is None:
        raise PlanMissingError(
            f"The plan of tasks/{plan} is not kept any more. Do the dry run again.",
            metadata={"task": f"tasks/{plan}"},
        )
    before, state = row
    if before is not None and state not in {"failed", "canceled"}:
        raise PlanApprovedError(
            f"The plan of tasks/{plan} was approved before: tasks/{before} commits it.",
            metadata={"task": f"tasks/{plan}", "approved_by": f"tasks/{before}"},
        )
    check_base(cursor, plan)
    cursor.execute(
        "UPDATE plan SET approved_by = %s::uuid WHERE task_id = %s::uuid", (task_id, plan)
    )
    cursor.execute(
        "UPDATE task_detail SET commits = %s::uuid WHERE task_id = %s::uuid", (plan, task_id)
    )


def moves(cursor: Cursor, plan: str) -> list[Move]:
    """The repositories that are not at the version that was planned on."""
    cursor.execute(
        "SELECT p.name, p.base_version, r.latest, v.task_id::text"
        "  FROM plan_repository p LEFT JOIN repository r USING (repository_id)"
        "  LEFT JOIN version v ON v.repository_id = r.repository_id AND v.number = r.latest"
        " WHERE p.task_id = %s::uuid AND r.latest IS DISTINCT FROM p.base_version ORDER BY p.name",
        (plan,),
    )
    return [Move(*row) for row in cursor.fetchall()]


def check_base(cursor: Cursor, plan: str) -> None:
    """Raises BaseMovedError if a repository has changed since the plan was made."""
    found = moves(cursor, plan)
    if not found:
        return
    first = found[0]
    raise BaseMovedError(
        f"The plan of tasks/{plan} cannot be committed: {' '.join(map(_moved, found))}"
        " Do the dry run again.",
        metadata={
            "repository": first.repository,
            "base_version": str(first.base),
            "latest_version": "" if first.latest is None else str(first.latest),
            "task": f"tasks/{first.task_id}" if first.task_id else "",
        },
        preconditions=tuple(Precondition("BASE", one.repository, _moved(one)) for one in found),
    )


def check_counts(
    cursor: Cursor, plan: str, repository_id: int, counts: tuple[int, int, int]
) -> None:
    """Raises PlanMissingError unless as much is added, removed and replaced as was planned."""
    cursor.execute(
        "SELECT added, removed, replaced FROM plan_repository"
        " WHERE task_id = %s::uuid AND repository_id = %s",
        (plan, repository_id),
    )
    planned = cursor.fetchone()
    if planned != counts:
        raise PlanMissingError(
            f"Not all that the plan of tasks/{plan} has is there any more, so nothing was "
            "committed. Do the dry run again.",
            metadata={"task": f"tasks/{plan}"},
        )


def hints(cursor: Cursor, plan: str) -> dict[int, bytes]:
    """What the plugin wants to be kept of the repositories it changes, by their number."""
    cursor.execute(
        "SELECT repository_id, hint FROM plan_repository"
        " WHERE task_id = %s::uuid AND hint IS NOT NULL",
        (plan,),
    )
    return {repository_id: bytes(hint) for repository_id, hint in cursor.fetchall()}


def stage(cursor: Cursor, workspace_id: int, plan: str) -> None:
    """Stages into a workspace what the plan has, with calls that its downloads can follow.

    Raises AttemptSupersededError, PlanMissingError and BaseMovedError.
    """
    cursor.execute("SELECT pg_current_xact_id()")
    cursor.execute("SELECT FROM workspace WHERE workspace_id = %s FOR KEY SHARE", (workspace_id,))
    if not cursor.rowcount:
        raise AttemptSupersededError("Another attempt owns the task now; stop.")
    cursor.execute("SELECT FROM plan WHERE task_id = %s::uuid", (plan,))
    if not cursor.rowcount:
        raise PlanMissingError(
            f"The plan of tasks/{plan} is not kept any more.", metadata={"task": f"tasks/{plan}"}
        )
    check_base(cursor, plan)
    for statement in _STAGE:
        cursor.execute(statement, {"workspace": workspace_id, "plan": plan})


def page(
    cursor: Cursor, plan: str, change: int, after: tuple[int, int, int], limit: int
) -> list[PlannedUnit]:
    """The next units of a plan after a position, of one change, or with 0 of all three."""
    _read_by_key(cursor)
    cursor.execute(_PAGE, {"plan": plan, "change": change, "after": after, "limit": limit})
    rows = cursor.fetchall()
    ids = [row[4] for row in rows]
    names = labels.names(cursor, [*ids, *(row[5] for row in rows if row[5] is not None)])
    shown = labels.of(cursor, ids)
    cursor.execute(_FACTS, (ids,))
    facts = {row[0]: row[1:] for row in cursor.fetchall()}
    found = []
    for kind, repository_id, place, repository, content_id, replaced in rows:
        files, size, missing, url = facts.get(content_id, (0, 0, 0, None))
        comes = kind != REMOVAL
        found.append(
            PlannedUnit(
                position=(kind, repository_id, place),
                repository=repository,
                unit=names.get(content_id, ""),
                label=shown.get(content_id, ""),
                replaces=names.get(replaced, "") if replaced is not None else "",
                files=files,
                size_bytes=size,
                fetch_files=missing if comes else 0,
                source_host=(urlsplit(url).hostname or "") if comes and url else "",
            )
        )
    return found


def page_of_items(
    cursor: Cursor, plan: str, change: int, after: tuple[int, int, int], limit: int
) -> list[PlannedUnit]:
    """As `page`, of the plan of one of core's own tasks."""
    _read_by_key(cursor)
    cursor.execute(
        "SELECT change, place, name, path, size_bytes, is_fetched FROM plan_item"
        " WHERE task_id = %(plan)s::uuid AND (%(change)s = 0 OR change = %(change)s)"
        " AND (change, place) > (%(after)s, %(place)s) ORDER BY change, place LIMIT %(limit)s",
        {"plan": plan, "change": change, "after": after[0], "place": after[2], "limit": limit},
    )
    return [
        PlannedUnit(
            position=(kind, 0, place),
            repository="",
            unit=name,
            label=path,
            replaces=name if kind == REPLACEMENT else "",
            files=1 if name.startswith("blobs/") else 0,
            size_bytes=size,
            fetch_files=1 if is_fetched else 0,
            source_host="",
        )
        for kind, place, name, path, size, is_fetched in cursor.fetchall()
    ]


def count_items(cursor: Cursor, plan: str) -> tuple[dict[int, int], int, int]:
    """Of one of core's own tasks: how many of each change; files to fetch, and their bytes."""
    cursor.execute(
        "SELECT change, count(*), count(*) FILTER (WHERE is_fetched),"
        " coalesce(sum(size_bytes) FILTER (WHERE is_fetched), 0)::bigint"
        " FROM plan_item WHERE task_id = %s::uuid GROUP BY change",
        (plan,),
    )
    rows = cursor.fetchall()
    return (
        {row[0]: row[1] for row in rows},
        sum(row[2] for row in rows),
        sum(row[3] for row in rows),
    )


def forget(cursor: Cursor, limit: int) -> int:
    """Deletes at most so many rows of plans whose time is up or whose dry run is gone.

    A plan that somebody commits now waits for that.
    """
    cursor.execute(
        "SELECT p.task_id::text FROM plan p"
        " WHERE (p.expires_at <= now()"
        "    OR NOT EXISTS (SELECT FROM task t WHERE t.task_id = p.task_id))"
        " AND NOT EXISTS ("
        "   SELECT FROM task t WHERE t.task_id = p.approved_by AND t.ended_at IS NULL)"
        " ORDER BY p.expires_at LIMIT 10 FOR UPDATE OF p SKIP LOCKED"
    )
    gone = 0
    for (plan,) in cursor.fetchall():
        left = limit - gone
        for table in _TABLES:
            if left > 0:
                cursor.execute(
                    f"DELETE FROM {table} WHERE ctid = ANY(ARRAY("
                    f"SELECT ctid FROM {table} WHERE task_id = %s::uuid LIMIT %s))",
                    (plan, left),
                )
                gone += cursor.rowcount
                left -= cursor.rowcount
        if left <= 0:
            return gone
        cursor.execute("DELETE FROM plan WHERE task_id = %s::uuid", (plan,))
        gone += cursor.rowcount
    return gone


def _read_by_key(cursor: Cursor) -> None:
    # In the order of the key a page ends after its rows; any other way reads all that follow.
    cursor.execute(
        "SELECT set_config('enable_bitmapscan', 'off', true),"
        " set_config('enable_seqscan', 'off', true)"
    )


def _moved(move: Move) -> str:
    if move.latest is None:
        return f"{move.repository} was planned on version {move.base} and does not exist any more."
    by = f", which tasks/{move.task_id} made" if move.task_id else ""
    return (
        f"{move.repository} was planned on version {move.base} and is at version "
        f"{move.latest} now{by}."
    )


_STAGE: Sequence[str] = (
    """
INSERT INTO staged
       (workspace_id, repository_id, content_id, removed, explicit, has_scope, cascade)
SELECT %(workspace)s, repository_id, content_id, change IN (3, 4), explicit, false, false
  FROM plan_unit WHERE task_id = %(plan)s::uuid
 ORDER BY repository_id, content_id
""",
    """
INSERT INTO stage_call (workspace_id, sequence, request_digest, content_ids)
SELECT %(workspace)s, n + 1, '', array_agg(content_id ORDER BY content_id)
  FROM (SELECT content_id,
               (row_number() OVER (ORDER BY change, repository_id, place) - 1) / 1000 AS n
          FROM plan_unit WHERE task_id = %(plan)s::uuid AND change IN (1, 2)) u
 GROUP BY n
""",
    """
INSERT INTO staged_publication (workspace_id, role, hide_version)
SELECT %(workspace)s, role, hide_version FROM plan_publication WHERE task_id = %(plan)s::uuid
""",
    """
INSERT INTO staged_file
       (workspace_id, role, path, digest, content_id, relative_path, media_type)
SELECT %(workspace)s, role, path, digest, content_id, relative_path, media_type
  FROM plan_file WHERE task_id = %(plan)s::uuid
""",
    # The plan keeps these blobs; its attempt had shown that it may use them.
    """
INSERT INTO attempt_blob (workspace_id, digest)
SELECT DISTINCT %(workspace)s::bigint, digest FROM plan_file
 WHERE task_id = %(plan)s::uuid AND digest IS NOT NULL
    ON CONFLICT DO NOTHING
""",
)

# The page is cut off first, in the order of the key: statistics of a new plan are not there yet,
# and with wrong ones all of it would be joined and sorted for each page.
_PAGE = """
SELECT u.change, u.repository_id, u.place, r.name, u.content_id, o.content_id
  FROM (SELECT task_id, change, repository_id, place, content_id FROM plan_unit
         WHERE task_id = %(plan)s::uuid AND change <= 3
           AND (%(change)s = 0 OR change = %(change)s)
           AND (change, repository_id, place) > %(after)s
         ORDER BY change, repository_id, place LIMIT %(limit)s) u
  JOIN plan_repository r USING (task_id, repository_id)
  LEFT JOIN plan_unit o ON u.change = 2 AND o.task_id = u.task_id AND o.change = 4
   AND o.repository_id = u.repository_id AND o.place = u.place
 ORDER BY u.change, u.repository_id, u.place
"""

_FACTS = """
SELECT a.content_id, count(*)::integer, coalesce(sum(a.size_bytes), 0)::bigint,
       (count(*) FILTER (WHERE b.digest IS NULL))::integer,
       (array_agg(s.url ORDER BY a.relative_path) FILTER (WHERE b.digest IS NULL))[1]
  FROM artifact a
  LEFT JOIN blob b ON b.digest = a.digest AND b.state = 'live'
  LEFT JOIN LATERAL (
    SELECT x.url FROM artifact_source x JOIN remote USING (remote_id)
     WHERE x.content_id = a.content_id AND x.relative_path = a.relative_path
     ORDER BY x.position, remote_id LIMIT 1) s ON true
 WHERE a.content_id = ANY(%s::bigint[])
 GROUP BY a.content_id
"""
