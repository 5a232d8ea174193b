"""The end of an attempt: what it staged becomes versions and publications, in one transaction.

The transaction is the caller's, who finishes the task in it; this module touches no task. Locks
are taken in this order: the workspace, then repositories by number.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg2
import structlog

from entrepot_core.domain.change import CommitMode, CommitResult
from entrepot_core.domain.errors import (
    AttemptSupersededError,
    DatabaseUnavailableError,
    VersionConflictError,
)
from entrepot_core.domain.names import version_name
from entrepot_core.store import (
    gaps,
    lending,
    publishing,
    repositories,
    repository_commit,
    versions,
)
from entrepot_rpc.failpoints import failpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from entrepot_core.domain.change import CommitRequest, Difference
    from entrepot_core.store.database import Cursor, Database
    from entrepot_core.store.lending import LentRepository
    from entrepot_core.store.plan_draft import PlanDraft

__all__ = ["ANALYZE_FROM", "after", "before", "commit", "settle"]

log = structlog.get_logger()

ANALYZE_FROM = 10_000
"""From so many rows on, statistics are made: without them a plan may take minutes."""

_STATEMENT_TIMEOUT = "600s"
_NESTED_LOOPS_UP_TO = 2_000


def before(database: Database, workspace_id: int) -> None:
    """To be called before the transaction of a commit: statistics for a large one."""
    rows = database.fetch("SELECT count(*) FROM staged WHERE workspace_id = %s", (workspace_id,))
    if rows[0][0] >= ANALYZE_FROM:
        database.fetch("ANALYZE staged")


def commit(cursor: Cursor, request: CommitRequest, draft: PlanDraft | None = None) -> CommitResult:
    """Writes what was staged. With dry_run the caller must roll back what this did.

    A dry run leaves in the draft what it would have written.

    Raises AttemptSupersededError, VersionConflictError, and what the content is refused for:
    RepositoryKeyConflictError, PathOverlapsError, NeededUnitMissingError, UnitStillNeededError,
    BlobMissingError. A commit with gaps that brings nothing new is refused with their error.
    """
    _fence(cursor, request.workspace_id)
    failpoint("commit.workspace_locked")
    _prepare(cursor, request.workspace_id)
    if request.gaps is not None:
        gaps.leave_out(cursor, request.workspace_id, request.gaps.content_ids)
    lent = lending.lent_repositories(cursor, request.workspace_id)
    made: dict[int, Difference] = {}
    created = ""
    for repository_id, roles in sorted(_writable(lent).items()):
        difference = _commit_repository(cursor, request, repository_id, roles, draft)
        made[repository_id] = difference
        if difference.changed and not request.dry_run:
            created = version_name(difference.repository, difference.version)
    failpoint("commit.version_inserted")
    if request.gaps is not None and made and not any(one.added for one in made.values()):
        raise request.gaps.error
    for publication in publishing.publish(cursor, request, lent, made):
        created = publication
    if draft is not None:
        draft.take_publications(cursor, request.workspace_id)
    return CommitResult(
        differences=tuple(made.values()),
        created_resource="" if request.dry_run else created,
        changed=bool(created) or any(difference.changed for difference in made.values()),
    )


def after(database: Database, result: CommitResult) -> None:
    """To be called after the transaction of a commit: deletes versions that are kept no longer."""
    with _made_good_by_the_next():
        for difference in result.differences:
            if difference.changed:
                _retain(database, difference.repository)


def settle(database: Database, result: CommitResult) -> None:
    """To be called after that, when nobody waits any more: statistics after a large change."""
    with _made_good_by_the_next():
        _analyze(database, result)


@contextmanager
def _made_good_by_the_next() -> Iterator[None]:
    try:
        yield
    except (DatabaseUnavailableError, psycopg2.Error) as error:
        # What counts has been committed, and the next commit does this, too.
        log.warning("commit.follow_up_failed", error=str(error))


def _analyze(database: Database, result: CommitResult) -> None:
    rows = sum(difference.added + difference.removed for difference in result.differences)
    if rows >= ANALYZE_FROM:
        # Never inside the commit: its lock would be held to the end and make others wait.
        database.fetch("ANALYZE member")
        database.fetch("ANALYZE content")
        database.fetch("ANALYZE artifact")
        database.fetch("ANALYZE edge")


def _retain(database: Database, full_name: str) -> None:
    with database.transaction() as cursor:
        row = repositories.find(cursor, full_name)
    if row is not None and row.retain_versions:
        versions.retain(database, row.repository_id)


def _fence(cursor: Cursor, workspace_id: int) -> None:
    # Its number first: a collector that condemned what this transaction names waits for it.
    cursor.execute("SELECT pg_current_xact_id()")
    cursor.execute("SELECT FROM workspace WHERE workspace_id = %s FOR UPDATE", (workspace_id,))
    if not cursor.rowcount:
        raise AttemptSupersededError("Another attempt owns the task now; stop.")


def _prepare(cursor: Cursor, workspace_id: int) -> None:
    cursor.execute(
        "SELECT count(*), set_config('statement_timeout', %s, true)"
        " FROM (SELECT FROM staged WHERE workspace_id = %s LIMIT %s) s",
        (_STATEMENT_TIMEOUT, workspace_id, _NESTED_LOOPS_UP_TO + 1),
    )
    is_large = (cursor.fetchone() or (0,))[0] > _NESTED_LOOPS_UP_TO
    # A plan for the wrong size costs minutes; the right one for each size is known.
    if is_large:
        cursor.execute("SET LOCAL enable_nestloop = off")
    else:
        cursor.execute(
            "SELECT set_config('enable_hashjoin', 'off', true),"
            " set_config('enable_mergejoin', 'off', true)"
        )


def _writable(lent: dict[str, LentRepository]) -> dict[int, list[LentRepository]]:
    """The writable roles, by repository: two roles may name one."""
    found: dict[int, list[LentRepository]] = {}
    for one in lent.values():
        if one.is_writable:
            found.setdefault(one.repository_id, []).append(one)
    return found


def _commit_repository(
    cursor: Cursor,
    request: CommitRequest,
    repository_id: int,
    roles: list[LentRepository],
    draft: PlanDraft | None,
) -> Difference:
    target = repository_commit.lock(cursor, request.workspace_id, repository_id)
    if target is None or target.latest != roles[0].base_version:
        raise VersionConflictError(
            f"The repository given as {roles[0].role} changed while the task ran: its latest "
            f"version was {roles[0].base_version}."
        )
    modes = {request.modes.get(one.role, CommitMode.ADDITIVE) for one in roles}
    mode = CommitMode.REPLACE if CommitMode.REPLACE in modes else CommitMode.ADDITIVE
    hints = [request.states[one.role] for one in roles if one.role in request.states]
    return repository_commit.commit(
        cursor, request, target, mode, hint=hints[0] if hints else None, draft=draft
    )
