"""Whether what the database says of content holds together: one query, or one pass, per invariant.

Only reads. Rows that a commit or a collector is changing meanwhile are looked at in one snapshot
for each query.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_core.domain import set_digest
from entrepot_core.domain.finding import Finding
from entrepot_core.store.intervals import CURRENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from entrepot_core.store.database import Database

__all__ = ["check_content"]

_SHOWN = 100


def check_content(database: Database, *, is_at_rest: bool = False) -> Iterator[Finding]:
    """What is wrong with repositories, versions and units; nothing if all is well.

    Where no task runs and the janitors have come by (`is_at_rest`), nothing may be left staged.
    """
    for invariant, statement in _QUERIES + (_AT_REST if is_at_rest else ()):
        for subject, sentence in database.fetch(statement, {"current": CURRENT, "most": _SHOWN}):
            yield Finding(invariant, subject, sentence)
    for repository_id, name in database.fetch(
        "SELECT repository_id, 'repositories/' || plugin || '/' || name FROM repository ORDER BY 1"
    ):
        yield from _check_digests(database, repository_id, name)


def _check_digests(database: Database, repository_id: int, name: str) -> Iterator[Finding]:
    """Recomputes the digest of each version out of the one before, and the state of the latest."""
    versions = database.fetch(
        "SELECT number, unit_count, set_digest FROM version WHERE repository_id = %s"
        " ORDER BY number",
        (repository_id,),
    )
    state = set_digest.EMPTY
    count, before = 0, -1
    for number, unit_count, expected in versions:
        came = _elements(database, repository_id, _CAME, before, number)
        left = _elements(database, repository_id, _LEFT, before, number)
        state = set_digest.changed(state, came, left)
        count += len(came) - len(left)
        before = number
        subject = f"{name}/versions/{number}"
        if count != unit_count:
            yield Finding("I2", subject, f"{subject} says {unit_count} units and has {count}.")
        if set_digest.digest(state) != bytes(expected):
            yield Finding("I2", subject, f"The digest of {subject} is not that of its units.")
    kept = database.fetch(
        "SELECT set_state FROM repository_state WHERE repository_id = %s", (repository_id,)
    )
    if not kept or bytes(kept[0][0]) != state:
        yield Finding("I2", name, f"The lanes of the set digest kept for {name} are wrong.")


def _elements(
    database: Database, repository_id: int, condition: str, before: int, number: int
) -> list[bytes]:
    rows = database.fetch(
        "SELECT t.name, c.key_digest, c.unit_digest FROM member m"
        " JOIN content c USING (content_id) JOIN content_type t ON t.type_id = c.type_id"
        f" WHERE m.repository_id = %(repository)s AND {condition}",
        {"repository": repository_id, "before": before, "number": number},
    )
    return [set_digest.element(row[0], bytes(row[1]), bytes(row[2])) for row in rows]


_CAME = "m.added_in > %(before)s AND m.added_in <= %(number)s AND m.removed_in > %(number)s"
_LEFT = "m.removed_in > %(before)s AND m.removed_in <= %(number)s AND m.added_in <= %(before)s"

_IN_VERSION = "{0}.added_in <= v.number AND {0}.removed_in > v.number"
_REPOSITORY = "'repositories/' || r.plugin || '/' || r.name"

_QUERIES = (
    (
        "I2",
        f"""
SELECT x.name, x.name || ' names the task ' || x.task_id || ', which did not complete.'
  FROM (SELECT {_REPOSITORY} || '/versions/' || v.number AS name, v.task_id
          FROM version v JOIN repository r USING (repository_id)
          JOIN task t ON t.task_id = v.task_id AND t.state <> 'completed') x
 LIMIT %(most)s""",
    ),
    (
        "I2",
        f"""
SELECT x.name, 'Who made ' || x.name || ' is not known: tasks/' || x.task_id || ' left no origin.'
  FROM (SELECT {_REPOSITORY} || '/versions/' || v.number AS name, v.task_id
          FROM version v JOIN repository r USING (repository_id)
         WHERE v.task_id IS NOT NULL
           AND NOT EXISTS (SELECT FROM task t WHERE t.task_id = v.task_id)
           AND NOT EXISTS (SELECT FROM origin o WHERE o.task_id = v.task_id)) x
 LIMIT %(most)s""",
    ),
    (
        "I3",
        f"""
SELECT x.name, x.name || ' lacks version ' || x.number || ', which was not deleted.'
  FROM (SELECT {_REPOSITORY} AS name, n.number
          FROM repository r
         CROSS JOIN LATERAL generate_series(0, r.next_number - 1) AS n(number)
         WHERE NOT EXISTS (SELECT FROM version v WHERE v.repository_id = r.repository_id
                              AND v.number = n.number)
           AND NOT EXISTS (SELECT FROM deleted_version d
                            WHERE d.repository_id = r.repository_id AND d.number = n.number)) x
 LIMIT %(most)s""",
    ),
    (
        "I3",
        f"""
SELECT x.name, x.name || ' says its latest version is ' || x.latest || ', and it is not.'
  FROM (SELECT {_REPOSITORY} AS name, r.latest
          FROM repository r
         WHERE r.latest IS DISTINCT FROM (SELECT max(v.number) FROM version v
                                           WHERE v.repository_id = r.repository_id)) x
 LIMIT %(most)s""",
    ),
    (
        "I3",
        """
SELECT 'tasks/' || task_id, 'tasks/' || task_id || ' made more than one version of a repository.'
  FROM version WHERE task_id IS NOT NULL
 GROUP BY repository_id, task_id HAVING count(*) > 1
 LIMIT %(most)s""",
    ),
    (
        "I8",
        """
SELECT 'content ' || m.content_id, 'A member is the unit ' || m.content_id || ', which is gone.'
  FROM member m
 WHERE NOT EXISTS (SELECT FROM content c WHERE c.content_id = m.content_id)
 LIMIT %(most)s""",
    ),
    (
        "I8",
        """
SELECT a.relative_path,
       'The file "' || a.relative_path || '" of a unit in some version is neither stored nor to be'
       || ' had from a remote.'
  FROM artifact a
 WHERE NOT EXISTS (SELECT FROM blob b WHERE b.digest = a.digest AND b.state = 'live')
   AND NOT EXISTS (SELECT FROM artifact_source s JOIN remote USING (remote_id)
                    WHERE s.content_id = a.content_id AND s.relative_path = a.relative_path)
   AND EXISTS (SELECT FROM member m JOIN version v ON v.repository_id = m.repository_id
                  AND v.number >= m.added_in AND v.number < m.removed_in
                WHERE m.content_id = a.content_id)
 LIMIT %(most)s""",
    ),
    (
        "I9",
        """
SELECT 'content ' || c.content_id,
       'The unit ' || c.content_id || ' is condemned and in a repository, outside of a collection.'
  FROM content c
 WHERE c.condemned AND EXISTS (SELECT FROM member m JOIN version v
    ON v.repository_id = m.repository_id AND v.number >= m.added_in AND v.number < m.removed_in
    WHERE m.content_id = c.content_id)
 LIMIT %(most)s""",
    ),
    (
        "I10",
        f"""
SELECT x.name, x.name || ' has the unit ' || x.source || ' without the unit ' || x.target
               || ' that it needs.'
  FROM (SELECT {_REPOSITORY} || '/versions/' || v.number AS name, e.source, e.target
          FROM version v
          JOIN repository r USING (repository_id)
          JOIN member m ON m.repository_id = v.repository_id AND {_IN_VERSION.format("m")}
          JOIN edge e ON e.source = m.content_id AND e.kind = 1
         WHERE NOT EXISTS (SELECT FROM member t
                            WHERE t.repository_id = v.repository_id AND t.content_id = e.target
                              AND {_IN_VERSION.format("t")})
         UNION ALL
        SELECT {_REPOSITORY} || '/versions/' || v.number, e.source, e.target
          FROM version v
          JOIN repository r USING (repository_id)
          JOIN scoped_edge e ON e.repository_id = v.repository_id AND e.kind = 1
           AND {_IN_VERSION.format("e")}
         WHERE NOT EXISTS (SELECT FROM member t
                            WHERE t.repository_id = v.repository_id AND t.content_id = e.target
                              AND {_IN_VERSION.format("t")})) x
 LIMIT %(most)s""",
    ),
    (
        "I10",
        f"""
SELECT x.name, x.name || ' has the unit ' || x.source || ', which needs one that is not known.'
  FROM (SELECT DISTINCT {_REPOSITORY} AS name, u.source
          FROM unresolved_edge u
          JOIN member m ON m.content_id = u.source
          JOIN version v ON v.repository_id = m.repository_id AND {_IN_VERSION.format("m")}
          JOIN repository r ON r.repository_id = v.repository_id
         WHERE u.kind = 1) x
 LIMIT %(most)s""",
    ),
)

_AT_REST = (
    (
        "I14",
        """
SELECT 'staged', count(*) || ' rows are staged by attempts that are over.'
  FROM staged s
 WHERE NOT EXISTS (SELECT FROM workspace w WHERE w.workspace_id = s.workspace_id)
HAVING count(*) > 0 AND %(most)s > 0""",
    ),
)
