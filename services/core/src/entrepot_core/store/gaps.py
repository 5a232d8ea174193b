"""Units that a commit leaves out because their files could not be had, and what hangs on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_core.store import labels
from entrepot_core.store.intervals import CURRENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from entrepot_core.store.database import Cursor

__all__ = ["Dependent", "dependents", "leave_out"]


@dataclass(frozen=True, slots=True)
class Dependent:
    """A staged unit that cannot come because another does not; both by name, or by their label."""

    content_id: int
    unit: str
    label: str
    needs: str


def dependents(cursor: Cursor, workspace_id: int, missing: Sequence[int]) -> list[Dependent]:
    """Staged units that need what is missing, or are attached to it, in turn; not that itself."""
    cursor.execute(_DEPENDENTS, {"workspace": workspace_id, "missing": list(missing)})
    found = cursor.fetchall()
    ids = [row[0] for row in found]
    names = labels.names(cursor, ids)
    shown = labels.of(cursor, [*ids, *(row[1] for row in found)])
    return [Dependent(one, names.get(one, ""), shown[one], shown[on]) for one, on in found]


def leave_out(cursor: Cursor, workspace_id: int, content_ids: Sequence[int]) -> None:
    """Takes back what was staged of these units; what a repository has already, it keeps."""
    cursor.execute(
        _LEAVE_OUT, {"workspace": workspace_id, "units": list(content_ids), "current": CURRENT}
    )


# Kinds 1 and 2: needs, and attaches.
_DEPENDENTS = """
WITH RECURSIVE gone(content_id, because) AS (
  SELECT u, NULL::bigint FROM unnest(%(missing)s::bigint[]) AS u
  UNION
  SELECT t.source, g.content_id FROM gone g
   CROSS JOIN LATERAL (
     SELECT e.source FROM edge e WHERE e.target = g.content_id AND e.kind IN (1, 2)
      UNION
     SELECT e.source FROM content c JOIN staged_edge e USING (type_id, key_digest)
      WHERE c.content_id = g.content_id AND e.workspace_id = %(workspace)s AND e.kind IN (1, 2)
      UNION
     SELECT e.source FROM content c JOIN unresolved_edge e USING (type_id, key_digest)
      WHERE c.content_id = g.content_id AND e.kind IN (1, 2)) t
   WHERE EXISTS (SELECT FROM staged s WHERE s.workspace_id = %(workspace)s
                    AND s.content_id = t.source AND NOT s.removed)
)
SELECT DISTINCT ON (content_id) content_id, because FROM gone
 WHERE because IS NOT NULL AND content_id <> ALL(%(missing)s::bigint[])
 ORDER BY content_id, because
"""

_LEAVE_OUT = """
DELETE FROM staged s
 WHERE s.workspace_id = %(workspace)s AND s.content_id = ANY(%(units)s::bigint[]) AND NOT s.removed
   AND NOT EXISTS (
     SELECT FROM member m
      WHERE m.repository_id = s.repository_id AND m.content_id = s.content_id
        AND m.removed_in = %(current)s)
"""
