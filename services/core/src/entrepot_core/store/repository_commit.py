"""The next version of one repository, out of what an attempt staged for it.

Cost follows the change, but for REPLACE, which compares the staged set with the members.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_core.domain import set_digest
from entrepot_core.domain.change import CommitMode, Difference, UnitLine
from entrepot_core.store import content_rules, edges, labels, plans

if TYPE_CHECKING:
    from collections.abc import Iterator

    from entrepot_core.domain.change import CommitRequest
    from entrepot_core.store.database import Cursor
    from entrepot_core.store.plan_draft import PlanDraft

__all__ = ["Target", "commit", "lock"]

_ANALYZE_TEMPORARY_FROM = 1_000
_SHOWN_UNITS = 100
_TEMPORARY = ("added_unit", "added_path", "removed_unit", "candidate", "changed_reason")
_ELEMENTS_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class Target:
    """A repository that is locked for its next version."""

    scope: edges.Scope
    full_name: str
    latest: int
    unit_count: int


def lock(cursor: Cursor, workspace_id: int, repository_id: int) -> Target | None:
    """The repository, locked to the end of the transaction; None if it is gone."""
    cursor.execute(
        "SELECT plugin, name, latest, next_number FROM repository"
        " WHERE repository_id = %s FOR UPDATE",
        (repository_id,),
    )
    row = cursor.fetchone()
    if row is None:
        return None
    plugin, name, latest, number = row
    cursor.execute(
        "SELECT unit_count FROM version WHERE repository_id = %s AND number = %s",
        (repository_id, latest),
    )
    (unit_count,) = cursor.fetchone() or (0,)
    return Target(
        scope=edges.Scope(workspace_id, repository_id, plugin, number),
        full_name=f"repositories/{plugin}/{name}",
        latest=latest,
        unit_count=unit_count,
    )


def commit(
    cursor: Cursor,
    request: CommitRequest,
    target: Target,
    mode: CommitMode,
    *,
    hint: bytes | None,
    draft: PlanDraft | None = None,
) -> Difference:
    """Writes the next version, or nothing if the content stays the same.

    A dry run writes what it would change into the draft instead.
    """
    scope = target.scope
    scoped_changes = added = removed = replaced = 0
    # Temporary tables that a transaction has looked at are emptied when it ends, which alone
    # costs as much as the rest of a sync that finds nothing new.
    if (
        request.plan is not None
        or request.dry_run
        or mode is CommitMode.REPLACE
        or _is_anything_staged(cursor, scope)
    ):
        for table in _TEMPORARY:
            cursor.execute(f"DELETE FROM {table}")
        if request.plan is not None:
            scoped_changes = _take(cursor, scope, request.plan)
        else:
            scoped_changes = _collect(cursor, scope, mode)
        added, removed, replaced = _counts(cursor)
    if request.plan is not None:
        plans.check_counts(cursor, request.plan, scope.repository_id, (added, removed, replaced))
    files = size = unknown = 0
    if added:
        content_rules.check_keys_and_paths(cursor, scope, has_members=target.unit_count > 0)
        content_rules.check_blobs(cursor, request, scope)
        files, size, unknown = _to_fetch(cursor)
    changed = bool(added or removed or scoped_changes)
    difference = Difference(
        repository=target.full_name,
        base_version=target.latest,
        version=0 if request.dry_run else scope.number if changed else target.latest,
        changed=changed,
        unchanged_reason=""
        if changed
        else request.unchanged_reason or "The repository is already as it was asked to be.",
        added=added,
        removed=removed,
        replaced=replaced,
        fetch_files=files,
        fetch_bytes=size,
        fetch_unknown_files=unknown,
        added_units=_lines(cursor, "added_unit") if request.dry_run else (),
        removed_units=_lines(cursor, "removed_unit") if request.dry_run else (),
    )
    if request.dry_run:
        if draft is not None:
            draft.take_repository(cursor, scope, difference, hint)
        return difference
    if changed:
        _write(cursor, scope)
        _write_version(cursor, request, target, added, removed)
    if hint is not None:
        cursor.execute(
            "UPDATE repository_state SET hint = %s, hint_version = %s WHERE repository_id = %s",
            (hint, difference.version, scope.repository_id),
        )
    return difference


def _is_anything_staged(cursor: Cursor, scope: edges.Scope) -> bool:
    cursor.execute(_ANYTHING_STAGED, scope.parameters)
    return bool((cursor.fetchone() or (False,))[0])


def _collect(cursor: Cursor, scope: edges.Scope, mode: CommitMode) -> int:
    """Fills added_unit and removed_unit; returns how many relations of the version differ."""
    parameters = scope.parameters
    has_edges = edges.has_edges(cursor, scope.plugin)
    scoped_changes = edges.apply_scoped(cursor, scope) if has_edges else 0
    cursor.execute(_REVIVE_STAGED, parameters)
    cursor.execute(_ADD_STAGED, parameters)
    cascade = False
    if mode is CommitMode.REPLACE:
        cursor.execute(_SET_REASONS, parameters)
        cursor.execute(_REMOVE_UNSTAGED, parameters)
        if has_edges:
            edges.keep_needed(cursor, scope)
    else:
        cursor.execute(_MAKE_EXPLICIT, parameters)
        cursor.execute(_REMOVE_STAGED, parameters)
        cursor.execute(_ASKS_FOR_CASCADE, parameters)
        cascade = bool((cursor.fetchone() or (False,))[0])
        if has_edges:
            edges.bring_needed(cursor, scope)
    _analyze_temporary(cursor)
    content_rules.replace_keys(cursor, scope, may_replace=mode is CommitMode.ADDITIVE)
    if has_edges:
        if mode is CommitMode.ADDITIVE:
            edges.sweep(cursor, scope, cascade=cascade)
        cursor.execute(_REVIVE_ADDED)
        edges.check(cursor, scope)
    return scoped_changes


def _take(cursor: Cursor, scope: edges.Scope, plan: str) -> int:
    """As `_collect`, of what a plan has staged and nothing else."""
    parameters = scope.parameters
    scoped_changes = edges.apply_planned(cursor, scope, plan)
    for statement in (_REVIVE_STAGED, _ADD_STAGED, _SET_REASONS, _REMOVE_STAGED):
        cursor.execute(statement, parameters)
    _analyze_temporary(cursor)
    content_rules.replace_keys(cursor, scope, may_replace=True)
    if edges.has_edges(cursor, scope.plugin):
        edges.check(cursor, scope)
    return scoped_changes


def _analyze_temporary(cursor: Cursor) -> None:
    # Autovacuum never sees temporary tables.
    for table in ("added_unit", "removed_unit"):
        cursor.execute(
            f"SELECT count(*) FROM (SELECT FROM {table} LIMIT %s) t",
            (_ANALYZE_TEMPORARY_FROM,),
        )
        if (cursor.fetchone() or (0,))[0] == _ANALYZE_TEMPORARY_FROM:
            cursor.execute(f"ANALYZE {table}")


def _counts(cursor: Cursor) -> tuple[int, int, int]:
    cursor.execute(
        "SELECT (SELECT count(*) FROM added_unit), count(*), count(*) FILTER (WHERE is_replaced)"
        " FROM removed_unit"
    )
    added, removed, replaced = cursor.fetchone() or (0, 0, 0)
    return added, removed, replaced


def _to_fetch(cursor: Cursor) -> tuple[int, int, int]:
    cursor.execute(
        "SELECT count(*), coalesce(sum(a.size_bytes), 0)::bigint,"
        " count(*) FILTER (WHERE a.size_bytes IS NULL)"
        " FROM added_unit u JOIN artifact a USING (content_id)"
        " WHERE NOT EXISTS (SELECT FROM blob b WHERE b.digest = a.digest AND b.state = 'live')"
    )
    files, size, unknown = cursor.fetchone() or (0, 0, 0)
    return files, size, unknown


def _lines(cursor: Cursor, table: str) -> tuple[UnitLine, ...]:
    cursor.execute(
        f"SELECT content_id FROM {table} JOIN content c USING (content_id)"
        " ORDER BY c.type_id, c.key_digest LIMIT %s",
        (_SHOWN_UNITS,),
    )
    ids = [row[0] for row in cursor.fetchall()]
    names, shown = labels.names(cursor, ids), labels.of(cursor, ids)
    return tuple(UnitLine(names[i], shown[i]) for i in ids)


def _write(cursor: Cursor, scope: edges.Scope) -> None:
    for statement in (
        _CLOSE_MEMBERS,
        _CLOSE_PATHS,
        _CLOSE_SCOPED_OF_REMOVED,
        _OPEN_MEMBERS,
        _OPEN_PATHS,
    ):
        cursor.execute(statement, scope.parameters)


def _write_version(
    cursor: Cursor, request: CommitRequest, target: Target, added: int, removed: int
) -> None:
    repository_id, number = target.scope.repository_id, target.scope.number
    cursor.execute(
        "SELECT set_state FROM repository_state WHERE repository_id = %s", (repository_id,)
    )
    (state,) = cursor.fetchone() or (set_digest.EMPTY,)
    state = set_digest.changed(
        bytes(state),
        elements(cursor, "added_unit") if added else (),
        elements(cursor, "removed_unit") if removed else (),
    )
    cursor.execute(
        "UPDATE repository_state SET set_state = %s WHERE repository_id = %s",
        (state, repository_id),
    )
    cursor.execute(
        "INSERT INTO version"
        " (repository_id, number, unit_count, added, removed, set_digest, task_id)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (
            repository_id,
            number,
            target.unit_count + added - removed,
            added,
            removed,
            set_digest.digest(state),
            request.task_id,
        ),
    )
    cursor.execute(
        "UPDATE repository SET latest = %s, next_number = %s WHERE repository_id = %s",
        (number, number + 1, repository_id),
    )


def elements(cursor: Cursor, table: str) -> Iterator[bytes]:
    """What the set digest hashes of the units in a temporary table."""
    # Read in pages by the server's cursor: a first sync may have a million of them.
    with cursor.connection.cursor(name=f"elements_of_{table}") as rows:
        rows.itersize = _ELEMENTS_AT_ONCE
        rows.execute(
            "SELECT t.name, c.key_digest, c.unit_digest"
            f" FROM {table} u JOIN content c USING (content_id)"
            " JOIN content_type t ON t.type_id = c.type_id"
        )
        for name, key_digest, unit_digest in rows:
            yield set_digest.element(name, bytes(key_digest), bytes(unit_digest))


# --- statements ---------------------------------------------------------------------------------

_ANYTHING_STAGED = """
SELECT EXISTS (
         SELECT FROM staged WHERE workspace_id = %(workspace)s AND repository_id = %(repository)s)
    OR EXISTS (
         SELECT FROM staged_edge
          WHERE workspace_id = %(workspace)s AND repository_id = %(repository)s)
"""

_REVIVE_STAGED = """
WITH orphaned AS (
  SELECT c.content_id FROM staged g JOIN content c USING (content_id)
   WHERE g.workspace_id = %(workspace)s AND g.repository_id = %(repository)s AND NOT g.removed
     AND c.orphaned_at IS NOT NULL
   ORDER BY c.content_id FOR UPDATE OF c)
UPDATE content c SET condemned = false, orphaned_at = NULL
  FROM orphaned o WHERE c.content_id = o.content_id
"""

# What came along by closure may have been condemned; what was deleted meanwhile is dangling.
_REVIVE_ADDED = """
WITH orphaned AS (
  SELECT c.content_id FROM added_unit a JOIN content c USING (content_id)
   WHERE c.orphaned_at IS NOT NULL
   ORDER BY c.content_id FOR UPDATE OF c
), live AS (
  UPDATE content c SET condemned = false, orphaned_at = NULL
    FROM orphaned o WHERE c.content_id = o.content_id)
DELETE FROM added_unit a
 WHERE NOT EXISTS (SELECT FROM content c WHERE c.content_id = a.content_id)
"""

_ADD_STAGED = """
INSERT INTO added_unit (content_id, explicit, type_id, repo_key, path)
SELECT c.content_id, g.explicit, c.type_id, c.repo_key,
       (SELECT min(a.relative_path) FROM artifact a WHERE a.content_id = c.content_id)
  FROM staged g
  JOIN content c USING (content_id)
 WHERE g.workspace_id = %(workspace)s AND g.repository_id = %(repository)s AND NOT g.removed
   AND NOT EXISTS (
     SELECT FROM member m
      WHERE m.repository_id = %(repository)s AND m.content_id = g.content_id
        AND m.removed_in = %(current)s)
"""

# A reason is intent for the future, not content: it changes in place and makes no version.
_MAKE_EXPLICIT = """
WITH changed AS (
UPDATE member m SET explicit = true
  FROM staged g
 WHERE g.workspace_id = %(workspace)s AND g.repository_id = %(repository)s
   AND NOT g.removed AND g.explicit
   AND m.repository_id = %(repository)s AND m.content_id = g.content_id
   AND m.removed_in = %(current)s AND NOT m.explicit
RETURNING m.content_id, m.explicit)
INSERT INTO changed_reason SELECT content_id, explicit FROM changed
"""

_SET_REASONS = """
WITH changed AS (
UPDATE member m SET explicit = g.explicit
  FROM staged g
 WHERE g.workspace_id = %(workspace)s AND g.repository_id = %(repository)s AND NOT g.removed
   AND m.repository_id = %(repository)s AND m.content_id = g.content_id
   AND m.removed_in = %(current)s AND m.explicit <> g.explicit
RETURNING m.content_id, m.explicit)
INSERT INTO changed_reason SELECT content_id, explicit FROM changed
"""

_REMOVE_UNSTAGED = """
INSERT INTO removed_unit (content_id, is_replaced)
SELECT m.content_id, false
  FROM member m
 WHERE m.repository_id = %(repository)s AND m.removed_in = %(current)s
   AND NOT EXISTS (
     SELECT FROM staged g
      WHERE g.workspace_id = %(workspace)s AND g.repository_id = %(repository)s
        AND g.content_id = m.content_id AND NOT g.removed)
"""

_REMOVE_STAGED = """
INSERT INTO removed_unit (content_id, is_replaced)
SELECT g.content_id, false
  FROM staged g
  JOIN member m ON m.repository_id = g.repository_id AND m.content_id = g.content_id
   AND m.removed_in = %(current)s
 WHERE g.workspace_id = %(workspace)s AND g.repository_id = %(repository)s AND g.removed
"""

_ASKS_FOR_CASCADE = """
SELECT EXISTS (
  SELECT FROM staged
   WHERE workspace_id = %(workspace)s AND repository_id = %(repository)s AND removed AND cascade)
"""

_CLOSE_MEMBERS = """
UPDATE member m SET removed_in = %(number)s
  FROM removed_unit r
 WHERE m.repository_id = %(repository)s AND m.content_id = r.content_id
   AND m.removed_in = %(current)s
"""

_CLOSE_PATHS = """
UPDATE member_path p SET removed_in = %(number)s
  FROM removed_unit r
 WHERE p.repository_id = %(repository)s AND p.content_id = r.content_id
   AND p.removed_in = %(current)s
"""

_CLOSE_SCOPED_OF_REMOVED = """
UPDATE scoped_edge s SET removed_in = %(number)s
  FROM removed_unit r
 WHERE s.repository_id = %(repository)s AND s.source = r.content_id
   AND s.removed_in = %(current)s AND s.added_in < %(number)s
"""

_OPEN_MEMBERS = """
INSERT INTO member (repository_id, content_id, added_in, explicit, type_id, repo_key, path)
SELECT %(repository)s, content_id, %(number)s, explicit, type_id,
       CASE WHEN repo_key = path THEN NULL ELSE repo_key END, path
  FROM added_unit
 ORDER BY content_id
"""

_OPEN_PATHS = """
INSERT INTO member_path (repository_id, content_id, path, added_in)
SELECT %(repository)s, content_id, path, %(number)s
  FROM added_path
 ORDER BY content_id, path
"""
