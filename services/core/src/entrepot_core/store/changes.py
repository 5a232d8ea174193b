"""Core's ready-made work: adding, removing and copying by name or filter.

It is staged like the work of any attempt, and committed by the same rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_core.domain.errors import AttemptSupersededError, UnitNotInRepositoryError
from entrepot_core.store import labels, staging
from entrepot_core.store.intervals import CURRENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from entrepot_core.store.content import Condition, VersionRange
    from entrepot_core.store.database import Cursor

__all__ = ["Selection", "stage_add", "stage_copy", "stage_remove"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which units of a version: those named, and those of any of the conditions; or all."""

    content_ids: Sequence[int] = ()
    conditions: Sequence[Condition] = ()
    is_all: bool = False


def stage_add(
    cursor: Cursor, workspace_id: int, repository_id: int, content_ids: Sequence[int]
) -> int:
    """Stages units by name; what they need comes along at commit. Returns how many."""
    _fence(cursor, workspace_id)
    staging.stage_known(cursor, workspace_id, repository_id, content_ids)
    return len(set(content_ids))


def stage_remove(
    cursor: Cursor,
    workspace_id: int,
    version: VersionRange,
    selection: Selection,
    *,
    cascade: bool = False,
) -> int:
    """Stages removals from the latest version; returns how many.

    Raises UnitNotInRepositoryError naming units that were named and are not there.
    """
    _fence(cursor, workspace_id)
    chosen = _select(cursor, version, selection)
    staging.stage_known(
        cursor, workspace_id, version.repository_id, chosen, removed=True, cascade=cascade
    )
    return len(chosen)


def stage_copy(
    cursor: Cursor,
    workspace_id: int,
    source: VersionRange,
    repository_id: int,
    selection: Selection,
) -> int:
    """Stages units of another version; returns how many were chosen.

    Along, as implied, come what they need, what is attached to them and what they have as context,
    as far as the source version has it; and relations that hold in that version only.

    Raises UnitNotInRepositoryError naming units that were named and are not there.
    """
    _fence(cursor, workspace_id)
    chosen = _select(cursor, source, selection)
    cursor.execute(_ALONG, {**_parameters(source), "chosen": chosen})
    along = [row[0] for row in cursor.fetchall()]
    staging.revive_content(cursor, sorted([*chosen, *along]))
    parameters = {
        "workspace": workspace_id,
        "target": repository_id,
        **_parameters(source),
        "units": sorted([*chosen, *along]),
        "chosen": chosen,
    }
    cursor.execute(_STAGE_COPIES, parameters)
    cursor.execute(_STAGE_SCOPED, parameters)
    return len(chosen)


def _select(cursor: Cursor, version: VersionRange, selection: Selection) -> list[int]:
    chosen = _named(cursor, version, selection.content_ids)
    if selection.is_all:
        cursor.execute(
            "SELECT content_id FROM member WHERE repository_id = %(repository)s"
            " AND added_in <= %(number)s AND removed_in > %(number)s",
            _parameters(version),
        )
        chosen |= {row[0] for row in cursor.fetchall()}
    for condition in selection.conditions:
        cursor.execute(
            "SELECT m.content_id FROM member m JOIN content c USING (content_id)"
            " WHERE m.repository_id = %(repository)s"
            " AND m.added_in <= %(number)s AND m.removed_in > %(number)s"
            f" AND m.type_id = ANY(%(types)s::integer[]) AND {condition.sql}",
            {
                **condition.parameters,
                **_parameters(version),
                "types": list(condition.type_ids),
            },
        )
        chosen |= {row[0] for row in cursor.fetchall()}
    return sorted(chosen)


def _named(cursor: Cursor, version: VersionRange, content_ids: Sequence[int]) -> set[int]:
    wanted = set(content_ids)
    cursor.execute(
        "SELECT content_id FROM member WHERE repository_id = %(repository)s"
        " AND added_in <= %(number)s AND removed_in > %(number)s"
        " AND content_id = ANY(%(units)s::bigint[])",
        {**_parameters(version), "units": list(wanted)},
    )
    absent = sorted(wanted - {row[0] for row in cursor.fetchall()})
    if absent:
        names = labels.names(cursor, absent[:1])
        shown = labels.of(cursor, absent[:1])[absent[0]]
        name = names.get(absent[0], shown)
        more = f", nor are {len(absent) - 1} more" if len(absent) > 1 else ""
        raise UnitNotInRepositoryError(
            f"{shown} ({name}) is not in the repository{more}.", metadata={"unit": name}
        )
    return wanted


def _fence(cursor: Cursor, workspace_id: int) -> None:
    cursor.execute("SELECT pg_current_xact_id()")
    cursor.execute("SELECT FROM workspace WHERE workspace_id = %s FOR KEY SHARE", (workspace_id,))
    if not cursor.rowcount:
        raise AttemptSupersededError("Another attempt owns the task now; stop.")


def _parameters(version: VersionRange) -> dict[str, int]:
    return {
        "repository": version.repository_id,
        "number": min(version.number, CURRENT - 1),
    }


_ALONG = """
WITH RECURSIVE c(content_id) AS (
  SELECT unnest(%(chosen)s::bigint[])
  UNION
  SELECT m.content_id FROM c
   CROSS JOIN LATERAL (
     SELECT e.target AS unit FROM edge e WHERE e.source = c.content_id AND e.kind IN (1, 3)
      UNION ALL
     SELECT e.source FROM edge e WHERE e.target = c.content_id AND e.kind = 2
      UNION ALL
     SELECT s.target FROM scoped_edge s
      WHERE s.repository_id = %(repository)s AND s.source = c.content_id AND s.kind IN (1, 3)
        AND s.added_in <= %(number)s AND s.removed_in > %(number)s
      UNION ALL
     SELECT s.source FROM scoped_edge s
      WHERE s.repository_id = %(repository)s AND s.target = c.content_id AND s.kind = 2
        AND s.added_in <= %(number)s AND s.removed_in > %(number)s) t
    JOIN member m ON m.repository_id = %(repository)s AND m.content_id = t.unit
     AND m.added_in <= %(number)s AND m.removed_in > %(number)s)
SELECT content_id FROM c WHERE content_id <> ALL(%(chosen)s::bigint[]) ORDER BY content_id
"""

# A unit whose relations in the source version hold there only brings them along.
_STAGE_COPIES = """
INSERT INTO staged AS known
       (workspace_id, repository_id, content_id, removed, explicit, has_scope, cascade)
SELECT %(workspace)s, %(target)s, u.content_id, false,
       u.content_id = ANY(%(chosen)s::bigint[]),
       EXISTS (SELECT FROM scoped_edge s
                WHERE s.repository_id = %(repository)s AND s.source = u.content_id
                  AND s.added_in <= %(number)s AND s.removed_in > %(number)s),
       false
  FROM unnest(%(units)s::bigint[]) AS u(content_id)
    ON CONFLICT ON CONSTRAINT staged_pkey DO UPDATE SET
       removed = false, explicit = EXCLUDED.explicit OR known.explicit,
       has_scope = EXCLUDED.has_scope OR known.has_scope
"""

_STAGE_SCOPED = """
INSERT INTO staged_edge (workspace_id, repository_id, source, kind, type_id, key_digest)
SELECT %(workspace)s, %(target)s, s.source, s.kind, c.type_id, c.key_digest
  FROM scoped_edge s JOIN content c ON c.content_id = s.target
 WHERE s.repository_id = %(repository)s AND s.source = ANY(%(units)s::bigint[])
   AND s.added_in <= %(number)s AND s.removed_in > %(number)s
    ON CONFLICT DO NOTHING
"""
