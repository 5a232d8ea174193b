"""Collecting orphans: units that no version of any repository has, and blobs that nothing names.

A unit is an orphan from when its last version was deleted, or, if it never was in one, from when
this first looked. No lock is taken on what lives: condemn, wait for those who may not have seen
that, look again, delete. Whoever names a unit revives it first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from entrepot_core.store import janitor, retry
from entrepot_core.store.blob_collection import collect_blobs, collectable, recover_aside
from entrepot_core.store.blob_references import IS_NAMED_BESIDES_UNITS
from entrepot_core.store.horizon import wait_for_older
from entrepot_core.store.plan_items import (
    BLOBS,
    UNIT_IS_PLANNED,
    UNITS,
    check_blobs,
    check_units,
)
from entrepot_core.store.plans import REMOVAL
from entrepot_rpc.failpoints import failpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from entrepot_core.store.blob_collection import Files
    from entrepot_core.store.database import Cursor, Database
    from entrepot_core.store.plan_items import PlanItems

__all__ = ["Collected", "collect", "mark"]

log = structlog.get_logger()

_WALK = 10_000
_DELETE = 1_000
_MAX_SWEEPS = 100_000


@dataclass(frozen=True, slots=True)
class Collected:
    """How many units and blobs were, or in a dry run would be, collected, and how many bytes."""

    content_units: int
    blobs: int
    blob_bytes: int


def collect(
    database: Database,
    files: Files,
    grace_seconds: float,
    *,
    dry_run: bool = False,
    items: PlanItems | None = None,
    plan: str | None = None,
    report: Callable[[int], None] = lambda _: None,
    check: Callable[[], None] = lambda: None,
) -> Collected:
    """Collects what has been an orphan for longer than the grace; `report` is told how many units.

    A dry run counts blobs that nothing names now, and those that only such units name, and notes
    all that in `items`. Of a `plan` it collects what that names: BaseMovedError if some of it is
    no orphan any more. `check` is called between steps, and may raise to end it.
    """
    if not dry_run:
        # Before anything that takes long: what a collector that died took away may be needed.
        recover_aside(database, files)
    # What is left of what was deleted goes first, also for a plan: nobody can see it any more.
    for clear in (janitor.sweep_versions, janitor.forget_staged, janitor.forget_sources):
        for _ in range(_MAX_SWEEPS):
            check()
            if not retry.run(database, clear):
                break
    if dry_run:
        if items is not None:
            _note(items, grace_seconds)
        return _plan(database, files, grace_seconds)
    check()
    mark(database)
    failpoint("collect.marked")
    check()
    if plan is not None:
        _check(database, grace_seconds, plan)
    units = _collect_units(database, grace_seconds, plan, report)
    check()
    blobs = collect_blobs(database, files, grace_seconds, plan=plan, report=lambda _: check())
    return Collected(units, blobs.blobs, blobs.bytes)


def mark(database: Database) -> int:
    """Notes of units since when they are orphans, and of those that are none that they are not.

    Returns how many became orphans. To be called now and then, so that the grace can begin.
    """
    retry.run(database, _pardon_marked)
    return _walk(database, _mark_step)


def _collect_units(
    database: Database, grace_seconds: float, plan: str | None, report: Callable[[int], None]
) -> int:
    _walk_orphans(database, grace_seconds, plan)
    condemned = [
        row[0]
        for row in database.fetch(
            f"SELECT content_id FROM content c WHERE condemned AND {UNIT_IS_PLANNED} ORDER BY 1",
            {"plan": plan},
        )
    ]
    if not condemned:
        return 0
    if not wait_for_older(database):
        # They stay condemned; the next run goes on from here.
        log.warning("collector.gave_up_waiting", condemned=len(condemned))
        return 0
    deleted = 0
    for start in range(0, len(condemned), _DELETE):
        batch = condemned[start : start + _DELETE]
        deleted += retry.run(database, lambda cursor, ids=batch: _delete(cursor, ids))  # type: ignore[misc]
        report(deleted)
    return deleted


def _walk(database: Database, step: Callable[[Cursor, int, int], int]) -> int:
    """Does a step for each stretch of numbers; returns the sum of what they return."""
    ((last,),) = database.fetch("SELECT coalesce(max(content_id), 0) FROM content")
    total = 0
    for first in range(0, int(last) + 1, _WALK):
        total += retry.run(
            database,
            lambda cursor, first=first: step(cursor, first, first + _WALK),  # type: ignore[misc]
        )
    return total


def _mark_step(cursor: Cursor, first: int, end: int) -> int:
    cursor.execute(
        "WITH orphan AS (SELECT c.content_id FROM content c"
        "  WHERE c.content_id >= %s AND c.content_id < %s AND c.orphaned_at IS NULL"
        f"  AND NOT {_IS_REFERENCED} ORDER BY c.content_id FOR UPDATE OF c SKIP LOCKED)"
        " UPDATE content c SET orphaned_at = now() FROM orphan o"
        " WHERE c.content_id = o.content_id",
        (first, end),
    )
    return cursor.rowcount


def _pardon_marked(cursor: Cursor) -> int:
    cursor.execute(
        "WITH found AS (SELECT c.content_id FROM content c WHERE c.orphaned_at IS NOT NULL"
        f"  AND {_IS_REFERENCED} ORDER BY c.content_id FOR UPDATE OF c SKIP LOCKED)"
        " UPDATE content c SET orphaned_at = NULL, condemned = false FROM found f"
        " WHERE c.content_id = f.content_id"
    )
    return cursor.rowcount


def _walk_orphans(database: Database, grace_seconds: float, plan: str | None) -> None:
    def condemn(cursor: Cursor) -> int:
        cursor.execute(
            "WITH orphan AS (SELECT c.content_id FROM content c"
            "  WHERE c.orphaned_at <= now() - make_interval(secs => %(grace)s)"
            f"  AND NOT c.condemned AND NOT {_IS_REFERENCED} AND {UNIT_IS_PLANNED}"
            "  ORDER BY c.content_id LIMIT %(most)s FOR UPDATE OF c SKIP LOCKED)"
            " UPDATE content c SET condemned = true FROM orphan o"
            " WHERE c.content_id = o.content_id",
            {"grace": grace_seconds, "most": _WALK, "plan": plan},
        )
        return cursor.rowcount

    while retry.run(database, condemn):
        pass


def _delete(cursor: Cursor, content_ids: list[int]) -> int:
    cursor.execute(
        "WITH found AS (SELECT c.content_id FROM content c"
        f"  WHERE c.content_id = ANY(%s::bigint[]) AND c.condemned AND {_IS_REFERENCED}"
        "  ORDER BY c.content_id FOR UPDATE OF c SKIP LOCKED)"
        " UPDATE content c SET condemned = false, orphaned_at = NULL FROM found f"
        " WHERE c.content_id = f.content_id",
        (content_ids,),
    )
    cursor.execute(
        "SELECT c.content_id FROM content c WHERE c.content_id = ANY(%s::bigint[])"
        f" AND c.condemned AND NOT {_IS_REFERENCED}"
        " ORDER BY c.content_id FOR UPDATE OF c SKIP LOCKED",
        (content_ids,),
    )
    dead = [row[0] for row in cursor.fetchall()]
    if not dead:
        return 0
    # Who had a relation to one of these waits for a unit with its key again.
    cursor.execute(_RELEASE_EDGES, {"dead": dead})
    for table, column in (
        ("edge", "target"),
        ("edge", "source"),
        ("unresolved_edge", "source"),
        ("scoped_edge", "target"),
        ("artifact_source", "content_id"),
        ("artifact", "content_id"),
        ("content", "content_id"),
    ):
        cursor.execute(f"DELETE FROM {table} WHERE {column} = ANY(%s::bigint[])", (dead,))
    return len(dead)


def _plan(database: Database, files: Files, grace_seconds: float) -> Collected:
    ((units,),) = database.fetch(
        f"SELECT count(*) FROM content c WHERE {_IS_ORPHAN}", {"grace": grace_seconds}
    )
    blobs = collect_blobs(database, files, grace_seconds, dry_run=True)
    ((more, size),) = database.fetch(
        "SELECT count(*), coalesce(sum(b.size_bytes), 0)::bigint FROM blob b"
        f" WHERE {_IS_OF_ORPHANS}",
        {"grace": grace_seconds},
    )
    return Collected(units, blobs.blobs + more, blobs.bytes + size)


def _check(database: Database, grace_seconds: float, plan: str) -> None:
    check_units(database, _IS_ORPHAN, {"grace": grace_seconds, "plan": plan})
    which = collectable(grace_seconds)
    check_blobs(
        database,
        f"{which.condition} AND {which.choice} OR {_IS_OF_ORPHANS}",
        {**which.parameters, "grace": grace_seconds, "plan": plan},
    )


def _note(items: PlanItems, grace_seconds: float) -> None:
    which = collectable(grace_seconds)
    items.select(REMOVAL, f"{UNITS} {_IS_ORPHAN}", {"grace": grace_seconds})
    items.select(REMOVAL, f"{BLOBS} {which.condition} AND {which.choice}", which.parameters)
    items.select(REMOVAL, f"{BLOBS} {_IS_OF_ORPHANS}", {"grace": grace_seconds})


# What keeps a unit. Members of deleted repositories and versions keep it until they are swept.
_IS_REFERENCED = """(
     EXISTS (SELECT FROM member r WHERE r.content_id = c.content_id)
  OR EXISTS (SELECT FROM staged r WHERE r.content_id = c.content_id)
  OR EXISTS (SELECT FROM lent_content r WHERE r.content_id = c.content_id)
  OR EXISTS (SELECT FROM staged_file r WHERE r.content_id = c.content_id)
  OR EXISTS (SELECT FROM published_file r WHERE r.content_id = c.content_id)
  OR EXISTS (SELECT FROM plan_unit r WHERE r.content_id = c.content_id)
  OR EXISTS (SELECT FROM plan_edge r WHERE r.target = c.content_id)
  OR EXISTS (SELECT FROM plan_file r WHERE r.content_id = c.content_id))"""

# Without a grace the unmarked count as well: a run would mark and collect them.
_IS_ORPHAN = (
    "coalesce(c.orphaned_at, now()) <= now() - make_interval(secs => %(grace)s)"
    f" AND NOT {_IS_REFERENCED}"
)

# Blobs that only orphans name.
_IS_OF_ORPHANS = (
    "b.digest IN ("
    f" SELECT a.digest FROM content c JOIN artifact a USING (content_id) WHERE {_IS_ORPHAN})"
    " AND b.created_at < now() - make_interval(secs => %(grace)s)"
    " AND NOT EXISTS (SELECT FROM artifact a JOIN content c USING (content_id)"
    f"  WHERE a.digest = b.digest AND ({_IS_REFERENCED}"
    "   OR coalesce(c.orphaned_at, now()) > now() - make_interval(secs => %(grace)s)))"
    f" AND NOT {IS_NAMED_BESIDES_UNITS}"
)

_RELEASE_EDGES = """
INSERT INTO unresolved_edge (source, kind, type_id, key_digest)
SELECT e.source, e.kind, c.type_id, c.key_digest
  FROM edge e JOIN content c ON c.content_id = e.target
 WHERE e.target = ANY(%(dead)s::bigint[]) AND e.source <> ALL(%(dead)s::bigint[])
 ORDER BY e.source, e.kind, c.type_id, c.key_digest
    ON CONFLICT DO NOTHING
"""
