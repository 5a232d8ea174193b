"""What distributions pointed at before: found by clients under way until the grace is over.

A new version of a repository is known by its row. Only what a person changes is recorded here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_core.store import serving

if TYPE_CHECKING:
    from entrepot_core.store.database import Cursor

__all__ = ["MAX_PREVIOUS", "Previous", "previous", "record", "under_way"]

# Each is another look-up for a path that the current set does not have.
MAX_PREVIOUS = 8


@dataclass(frozen=True, slots=True)
class Previous:
    """A content set that was served, and how many seconds of grace it still has."""

    content_set: str
    remaining_seconds: float


def previous(cursor: Cursor, distribution_id: int) -> list[Previous]:
    """What a distribution served before and is still in its grace, newest first."""
    cursor.execute(_ENDED + _PREVIOUS, {"distribution": distribution_id, "limit": MAX_PREVIOUS})
    return [
        Previous(serving.content_set(repository_id, number, publication_id), float(remaining))
        for repository_id, number, publication_id, remaining in cursor
    ]


def record(cursor: Cursor, distribution_id: int) -> None:
    """Notes what a distribution points at; to be called before it is pointed elsewhere."""
    parameters = {"distribution": distribution_id}
    cursor.execute(
        "DELETE FROM former_target WHERE distribution_id = %(distribution)s AND ended_at < now()"
        " - (SELECT max(grace_seconds) FROM distribution) * interval '1 second'",
        parameters,
    )
    cursor.execute(_RECORD, parameters)


def under_way(cursor: Cursor, repository_id: int) -> set[int]:
    """Numbers of versions of a repository that clients may still be reading."""
    cursor.execute(_UNDER_WAY, {"repository": repository_id})
    return {row[0] for row in cursor}


# What ended: recorded ones, and versions of the repository that is served that have a successor.
_ENDED = """
WITH own AS (
  SELECT d.distribution_id, d.grace_seconds, d.number, r.repository_id, r.latest
    FROM distribution d LEFT JOIN repository r USING (repository_id)
   WHERE d.distribution_id = %(distribution)s
), ended AS (
  SELECT f.repository_id, f.number, f.publication_id, f.ended_at
    FROM former_target f JOIN own USING (distribution_id)
   UNION ALL
  (SELECT v.repository_id, v.number, NULL, n.created_at
     FROM own
     JOIN version v ON v.repository_id = own.repository_id AND v.number < own.latest
     CROSS JOIN LATERAL (
       SELECT created_at FROM version s
        WHERE s.repository_id = v.repository_id AND s.number > v.number
        ORDER BY s.number LIMIT 1) n
    WHERE own.number IS NULL
    ORDER BY v.number DESC LIMIT 8)
)
"""

_PREVIOUS = """
SELECT e.repository_id, coalesce(e.number, p.number), e.publication_id::text,
       max(extract(epoch FROM e.ended_at - now()) + own.grace_seconds) AS remaining
  FROM ended e CROSS JOIN own LEFT JOIN publication p USING (publication_id)
 WHERE e.ended_at > now() - own.grace_seconds * interval '1 second'
 GROUP BY 1, 2, 3
 ORDER BY remaining DESC, 2 DESC LIMIT %(limit)s
"""

# A version that was displaced a moment before is under way as well.
_RECORD = f"""{_ENDED}
INSERT INTO former_target (distribution_id, repository_id, number, publication_id, ended_at)
SELECT d.distribution_id, d.repository_id, coalesce(d.number, r.latest), d.publication_id, now()
  FROM distribution d LEFT JOIN repository r USING (repository_id)
 WHERE d.distribution_id = %(distribution)s
   AND (d.repository_id IS NOT NULL OR d.publication_id IS NOT NULL)
 UNION ALL
SELECT own.distribution_id, e.repository_id, e.number, NULL, e.ended_at
  FROM ended e CROSS JOIN own
 WHERE e.publication_id IS NULL AND e.repository_id = own.repository_id AND own.number IS NULL
   AND e.ended_at > now() - own.grace_seconds * interval '1 second'
"""

_UNDER_WAY = """
SELECT coalesce(f.number, p.number)
  FROM former_target f JOIN distribution d USING (distribution_id)
  LEFT JOIN publication p ON p.publication_id = f.publication_id
 WHERE coalesce(f.repository_id, p.repository_id) = %(repository)s
   AND f.ended_at > now() - d.grace_seconds * interval '1 second'
 UNION
(SELECT v.number
   FROM version v
   CROSS JOIN LATERAL (
     SELECT created_at FROM version s
      WHERE s.repository_id = v.repository_id AND s.number > v.number
      ORDER BY s.number LIMIT 1) n
  WHERE v.repository_id = %(repository)s
    AND n.created_at > now() - interval '1 second' * (
      SELECT max(grace_seconds) FROM distribution
       WHERE repository_id = %(repository)s AND number IS NULL)
  ORDER BY v.number DESC LIMIT 8)
"""
