"""Relations at commit: what comes along, what leaves with what, who still needs what leaves.

Works on the temporary tables added_unit and removed_unit of one repository. Needs (1): the target
is in every version that has the source. Attaches (2): the source leaves when its target leaves.
Context (3) only matters for copies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_core.domain.errors import (
    NeededUnitMissingError,
    Precondition,
    UnitStillNeededError,
)
from entrepot_core.store import labels
from entrepot_core.store.intervals import CURRENT

if TYPE_CHECKING:
    from typing import Any

    from entrepot_core.store.database import Cursor

__all__ = [
    "Scope",
    "apply_planned",
    "apply_scoped",
    "bring_needed",
    "check",
    "has_edges",
    "keep_needed",
    "sweep",
]

_SHOWN_HOLDERS = 10


@dataclass(frozen=True, slots=True)
class Scope:
    """Which repository a statement is about, for which attempt, and the number it may write."""

    workspace_id: int
    repository_id: int
    plugin: str
    number: int

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "workspace": self.workspace_id,
            "repository": self.repository_id,
            "number": self.number,
            "current": CURRENT,
        }


def has_edges(cursor: Cursor, plugin: str) -> bool:
    """Whether any unit of the plugin's types has a relation; if not, nothing below has work."""
    cursor.execute(
        "SELECT EXISTS (SELECT FROM content_type WHERE plugin = %s AND has_edges)", (plugin,)
    )
    return bool((cursor.fetchone() or (False,))[0])


def apply_scoped(cursor: Cursor, scope: Scope) -> int:
    """Writes the relations that hold in this repository only, as staged; returns how many differ.

    Raises NeededUnitMissingError if one needs a unit that core does not have.
    """
    cursor.execute(_SCOPED_WITHOUT_TARGET, scope.parameters)
    missing = cursor.fetchone()
    if missing is not None:
        raise _missing(cursor, *missing)
    cursor.execute(_CLOSE_SCOPED, scope.parameters)
    changed = cursor.rowcount
    cursor.execute(_OPEN_SCOPED, scope.parameters)
    return changed + cursor.rowcount


def apply_planned(cursor: Cursor, scope: Scope, plan: str) -> int:
    """The same, as a plan has it."""
    parameters = {**scope.parameters, "plan": plan}
    cursor.execute(_CLOSE_PLANNED, parameters)
    changed = cursor.rowcount
    cursor.execute(_OPEN_PLANNED, parameters)
    return changed + cursor.rowcount


def bring_needed(cursor: Cursor, scope: Scope) -> None:
    """Adds, as implied, what the added units need and the repository does not have."""
    while True:
        cursor.execute(_RESOLVE)
        cursor.execute(_CLOSURE, scope.parameters)
        if not cursor.rowcount:
            return


def keep_needed(cursor: Cursor, scope: Scope) -> None:
    """Where the staged units replace all others: keeps or adds what they need, as implied."""
    while True:
        cursor.execute(_RESOLVE)
        cursor.execute(_NEEDED_BY_STAGED, scope.parameters)
        needed = [row[0] for row in cursor.fetchall()]
        cursor.execute("DELETE FROM removed_unit WHERE content_id = ANY(%s::bigint[])", (needed,))
        cursor.execute(
            "WITH changed AS ("
            "UPDATE member SET explicit = false WHERE repository_id = %s AND removed_in = %s"
            " AND content_id = ANY(%s::bigint[]) AND explicit RETURNING content_id)"
            " INSERT INTO changed_reason SELECT content_id, false FROM changed",
            (scope.repository_id, CURRENT, needed),
        )
        cursor.execute(_ADD_NEEDED, {**scope.parameters, "needed": needed})
        if not cursor.rowcount:
            return


def sweep(cursor: Cursor, scope: Scope, *, cascade: bool) -> None:
    """Takes out what leaves with the removed units.

    That is what is attached to them, with `cascade` what needs them, and those implied units that
    nothing needs any more, cycles of them as well.
    """
    kinds = [1, 2] if cascade else [2]
    while True:
        while True:
            cursor.execute(_PULLED_ALONG, {**scope.parameters, "kinds": kinds})
            if not cursor.rowcount:
                break
        cursor.execute("DELETE FROM candidate")
        cursor.execute(_CANDIDATES, scope.parameters)
        if not cursor.rowcount:
            return
        cursor.execute(_SUPPORTED_FROM_OUTSIDE, scope.parameters)
        while cursor.rowcount:
            cursor.execute(_SUPPORTED_BY_ALIVE, scope.parameters)
        cursor.execute(
            "INSERT INTO removed_unit (content_id, is_replaced)"
            " SELECT content_id, false FROM candidate WHERE NOT is_alive"
        )
        if not cursor.rowcount:
            return


def check(cursor: Cursor, scope: Scope) -> None:
    """Raises UnitStillNeededError and NeededUnitMissingError, which name holder and target."""
    cursor.execute(_STILL_NEEDED, scope.parameters)
    held = cursor.fetchall()
    if held:
        raise _still_needed(cursor, held)
    cursor.execute(_UNRESOLVED_NEED)
    missing = cursor.fetchone()
    if missing is not None:
        raise _missing(cursor, *missing)
    cursor.execute(_DANGLING, scope.parameters)
    dangling = cursor.fetchone()
    if dangling is not None:
        shown = labels.of(cursor, list(dangling))
        raise NeededUnitMissingError(
            f"{shown[dangling[0]]} needs {shown[dangling[1]]}, which is not in the repository.",
            metadata={"unit": shown[dangling[0]], "needs": shown[dangling[1]]},
        )


def _still_needed(cursor: Cursor, held: list[tuple[int, int]]) -> UnitStillNeededError:
    unit = held[0][1]
    holders = [source for source, target in held if target == unit]
    shown = labels.of(cursor, [unit, *holders])
    names = sorted(shown[holder] for holder in holders)
    more = ", …" if len(names) == _SHOWN_HOLDERS else ""
    return UnitStillNeededError(
        f"{shown[unit]} is needed by {', '.join(names)}{more}. Remove these as well, or all that "
        "needs it with cascade.",
        metadata={"unit": shown[unit], "holders": ", ".join(names)},
        preconditions=tuple(Precondition("UNIT", name, f"needs {shown[unit]}") for name in names),
    )


def _missing(
    cursor: Cursor, source: int, type_id: int, key_digest: memoryview
) -> NeededUnitMissingError:
    holder = labels.of(cursor, [source])[source]
    target = labels.name_of_key(cursor, type_id, bytes(key_digest))
    return NeededUnitMissingError(
        f"{holder} needs {target}, which does not exist.",
        metadata={"unit": holder, "needs": target},
    )


# --- statements ---------------------------------------------------------------------------------
# Each forward or backward step looks at both kinds of scope.

_RESOLVE = """
WITH waiting AS (
  SELECT u.source, u.kind, u.type_id, u.key_digest, c.content_id AS target
    FROM added_unit a
    JOIN unresolved_edge u ON u.source = a.content_id
    JOIN content c ON c.type_id = u.type_id AND c.key_digest = u.key_digest
   ORDER BY u.source, u.kind, u.type_id, u.key_digest FOR UPDATE OF u SKIP LOCKED
), gone AS (
  DELETE FROM unresolved_edge u USING waiting w
   WHERE u.source = w.source AND u.kind = w.kind AND u.type_id = w.type_id
     AND u.key_digest = w.key_digest
)
INSERT INTO edge (source, kind, target)
SELECT source, kind, target FROM waiting ORDER BY source, kind, target ON CONFLICT DO NOTHING
"""

_SCOPED_WITHOUT_TARGET = """
SELECT e.source, e.type_id, e.key_digest
  FROM staged_edge e
  LEFT JOIN content c USING (type_id, key_digest)
 WHERE e.workspace_id = %(workspace)s AND e.repository_id = %(repository)s
   AND e.kind = 1 AND c.content_id IS NULL
 LIMIT 1
"""

_CLOSE_SCOPED = """
UPDATE scoped_edge s SET removed_in = %(number)s
  FROM staged g
 WHERE g.workspace_id = %(workspace)s AND g.repository_id = %(repository)s
   AND NOT g.removed AND g.has_scope
   AND s.repository_id = %(repository)s AND s.source = g.content_id
   AND s.removed_in = %(current)s
   AND NOT EXISTS (
     SELECT FROM staged_edge e
       JOIN content c USING (type_id, key_digest)
      WHERE e.workspace_id = %(workspace)s AND e.repository_id = %(repository)s
        AND e.source = s.source AND e.kind = s.kind AND c.content_id = s.target)
"""

_OPEN_SCOPED = """
INSERT INTO scoped_edge (repository_id, source, kind, target, added_in)
SELECT %(repository)s, e.source, e.kind, c.content_id, %(number)s
  FROM staged_edge e
  JOIN content c USING (type_id, key_digest)
  JOIN staged g ON g.workspace_id = e.workspace_id AND g.repository_id = e.repository_id
   AND g.content_id = e.source AND NOT g.removed
 WHERE e.workspace_id = %(workspace)s AND e.repository_id = %(repository)s
   AND NOT EXISTS (
     SELECT FROM scoped_edge s
      WHERE s.repository_id = %(repository)s AND s.source = e.source AND s.kind = e.kind
        AND s.target = c.content_id AND s.removed_in = %(current)s)
 ORDER BY e.source, e.kind, c.content_id
"""

_CLOSE_PLANNED = """
UPDATE scoped_edge s SET removed_in = %(number)s
  FROM plan_edge p
 WHERE p.task_id = %(plan)s::uuid AND p.repository_id = %(repository)s AND p.is_removed
   AND s.repository_id = p.repository_id AND s.source = p.source AND s.kind = p.kind
   AND s.target = p.target AND s.removed_in = %(current)s
"""

_OPEN_PLANNED = """
INSERT INTO scoped_edge (repository_id, source, kind, target, added_in)
SELECT %(repository)s, p.source, p.kind, p.target, %(number)s
  FROM plan_edge p
 WHERE p.task_id = %(plan)s::uuid AND p.repository_id = %(repository)s AND NOT p.is_removed
 ORDER BY p.source, p.kind, p.target
"""

_NEEDS_OF_C = """
CROSS JOIN LATERAL (
  SELECT e.target FROM edge e WHERE e.source = c.content_id AND e.kind = 1
   UNION ALL
  SELECT s.target FROM scoped_edge s
   WHERE s.repository_id = %(repository)s AND s.source = c.content_id AND s.kind = 1
     AND s.removed_in = %(current)s) t
"""

_CLOSURE = (
    """
WITH RECURSIVE c(content_id) AS (
  (SELECT content_id FROM added_unit
    UNION
   SELECT source FROM staged_edge
    WHERE workspace_id = %(workspace)s AND repository_id = %(repository)s AND kind = 1)
  UNION
  SELECT t.target FROM c """
    + _NEEDS_OF_C
    + """
   WHERE NOT EXISTS (
     SELECT FROM member m
      WHERE m.repository_id = %(repository)s AND m.content_id = t.target
        AND m.removed_in = %(current)s))
INSERT INTO added_unit (content_id, explicit, type_id, repo_key, path)
SELECT u.content_id, false, u.type_id, u.repo_key,
       (SELECT min(a.relative_path) FROM artifact a WHERE a.content_id = u.content_id)
  FROM c JOIN content u USING (content_id)
 WHERE NOT EXISTS (SELECT FROM added_unit x WHERE x.content_id = c.content_id)
   AND NOT EXISTS (
     SELECT FROM member m
      WHERE m.repository_id = %(repository)s AND m.content_id = c.content_id
        AND m.removed_in = %(current)s)
"""
)

_NEEDED_BY_STAGED = (
    """
WITH RECURSIVE c(content_id) AS (
  SELECT content_id FROM staged
   WHERE workspace_id = %(workspace)s AND repository_id = %(repository)s AND NOT removed
  UNION
  SELECT t.target FROM c """
    + _NEEDS_OF_C
    + """)
SELECT c.content_id FROM c
 WHERE NOT EXISTS (
   SELECT FROM staged g
    WHERE g.workspace_id = %(workspace)s AND g.repository_id = %(repository)s
      AND g.content_id = c.content_id AND NOT g.removed)
 ORDER BY c.content_id
"""
)

_ADD_NEEDED = """
INSERT INTO added_unit (content_id, explicit, type_id, repo_key, path)
SELECT u.content_id, false, u.type_id, u.repo_key,
       (SELECT min(a.relative_path) FROM artifact a WHERE a.content_id = u.content_id)
  FROM content u
 WHERE u.content_id = ANY(%(needed)s::bigint[])
   AND NOT EXISTS (SELECT FROM added_unit x WHERE x.content_id = u.content_id)
   AND NOT EXISTS (
     SELECT FROM member m
      WHERE m.repository_id = %(repository)s AND m.content_id = u.content_id
        AND m.removed_in = %(current)s)
"""

# What the attempt adds itself is not pulled along, and does not die for want of support.
_NOT_STAGED = """
   AND NOT EXISTS (
     SELECT FROM staged g
      WHERE g.workspace_id = %(workspace)s AND g.repository_id = %(repository)s
        AND g.content_id = m.content_id AND NOT g.removed)
"""

_PULLED_ALONG = (
    """
INSERT INTO removed_unit (content_id, is_replaced)
SELECT DISTINCT m.content_id, false
  FROM removed_unit d
 CROSS JOIN LATERAL (
   SELECT e.source FROM edge e
    WHERE e.target = d.content_id AND e.kind = ANY(%(kinds)s::smallint[])
    UNION ALL
   SELECT s.source FROM scoped_edge s
    WHERE s.repository_id = %(repository)s AND s.target = d.content_id
      AND s.kind = ANY(%(kinds)s::smallint[]) AND s.removed_in = %(current)s) t
  JOIN member m ON m.repository_id = %(repository)s AND m.content_id = t.source
   AND m.removed_in = %(current)s
 WHERE NOT EXISTS (SELECT FROM removed_unit r WHERE r.content_id = m.content_id)
"""
    + _NOT_STAGED
)

_CANDIDATES = (
    """
WITH RECURSIVE c(content_id) AS (
  SELECT content_id FROM removed_unit
  UNION
  SELECT m.content_id FROM c
   CROSS JOIN LATERAL (
     SELECT e.target AS unit FROM edge e WHERE e.source = c.content_id AND e.kind = 1
      UNION ALL
     SELECT e.source FROM edge e WHERE e.target = c.content_id AND e.kind = 2
      UNION ALL
     SELECT s.target FROM scoped_edge s
      WHERE s.repository_id = %(repository)s AND s.source = c.content_id AND s.kind = 1
        AND s.removed_in = %(current)s
      UNION ALL
     SELECT s.source FROM scoped_edge s
      WHERE s.repository_id = %(repository)s AND s.target = c.content_id AND s.kind = 2
        AND s.removed_in = %(current)s) t
    JOIN member m ON m.repository_id = %(repository)s AND m.content_id = t.unit
     AND m.removed_in = %(current)s
   WHERE NOT m.explicit """
    + _NOT_STAGED
    + """)
INSERT INTO candidate (content_id, is_alive)
SELECT c.content_id, false FROM c
 WHERE NOT EXISTS (SELECT FROM removed_unit r WHERE r.content_id = c.content_id)
"""
)

# A unit is supported by who needs it, and an attached one by what it is attached to.
_SUPPORTERS = """
  SELECT e.source AS unit FROM edge e WHERE e.target = c.content_id AND e.kind = 1
   UNION ALL
  SELECT e.target FROM edge e WHERE e.source = c.content_id AND e.kind = 2
   UNION ALL
  SELECT s.source FROM scoped_edge s
   WHERE s.repository_id = %(repository)s AND s.target = c.content_id AND s.kind = 1
     AND s.removed_in = %(current)s
   UNION ALL
  SELECT s.target FROM scoped_edge s
   WHERE s.repository_id = %(repository)s AND s.source = c.content_id AND s.kind = 2
     AND s.removed_in = %(current)s
"""

_SUPPORTED_FROM_OUTSIDE = (
    """
UPDATE candidate c SET is_alive = true
 WHERE EXISTS (SELECT FROM ("""
    + _SUPPORTERS
    + """) t
   WHERE EXISTS (SELECT FROM added_unit a WHERE a.content_id = t.unit)
      OR (EXISTS (SELECT FROM member m
                   WHERE m.repository_id = %(repository)s AND m.content_id = t.unit
                     AND m.removed_in = %(current)s)
          AND NOT EXISTS (SELECT FROM removed_unit r WHERE r.content_id = t.unit)
          AND NOT EXISTS (SELECT FROM candidate k WHERE k.content_id = t.unit)))
"""
)

_SUPPORTED_BY_ALIVE = (
    """
UPDATE candidate c SET is_alive = true
 WHERE NOT c.is_alive AND EXISTS (SELECT FROM ("""
    + _SUPPORTERS
    + """) t JOIN candidate k ON k.content_id = t.unit AND k.is_alive)
"""
)

_STILL_NEEDED = """
SELECT t.source, d.content_id
  FROM removed_unit d
 CROSS JOIN LATERAL (
   SELECT e.source FROM edge e WHERE e.target = d.content_id AND e.kind = 1
    UNION ALL
   SELECT s.source FROM scoped_edge s
    WHERE s.repository_id = %(repository)s AND s.target = d.content_id AND s.kind = 1
      AND s.removed_in = %(current)s) t
 WHERE EXISTS (SELECT FROM added_unit a WHERE a.content_id = t.source)
    OR (EXISTS (SELECT FROM member m
                 WHERE m.repository_id = %(repository)s AND m.content_id = t.source
                   AND m.removed_in = %(current)s)
        AND NOT EXISTS (SELECT FROM removed_unit r WHERE r.content_id = t.source))
 ORDER BY d.content_id, t.source
 LIMIT 10
"""

_UNRESOLVED_NEED = """
SELECT u.source, u.type_id, u.key_digest
  FROM added_unit a JOIN unresolved_edge u ON u.source = a.content_id AND u.kind = 1
 LIMIT 1
"""

# A target whose row was collected between two statements: nothing else can be dangling by now.
_DANGLING = (
    """
SELECT c.content_id, t.target FROM added_unit c """
    + _NEEDS_OF_C
    + """
 WHERE NOT EXISTS (SELECT FROM added_unit a WHERE a.content_id = t.target)
   AND NOT EXISTS (
     SELECT FROM member m
      WHERE m.repository_id = %(repository)s AND m.content_id = t.target
        AND m.removed_in = %(current)s
        AND NOT EXISTS (SELECT FROM removed_unit r WHERE r.content_id = t.target))
 LIMIT 1
"""
)
