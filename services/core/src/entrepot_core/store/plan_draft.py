"""What a dry run would change, carried over the rollback that undoes it.

The rehearsal of a commit works everything out in tables that its rollback empties. So it is copied
out of them into a file, on disk if it is large, and from there into the tables of plans, in the
transaction that completes the dry run. Memory stays the same for a million units.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Self

if TYPE_CHECKING:
    from entrepot_core.domain.change import Difference
    from entrepot_core.store.database import Cursor
    from entrepot_core.store.edges import Scope

__all__ = ["PlanDraft"]

_IN_MEMORY = 1024 * 1024
_KEEP = "7 days"


@dataclass(frozen=True, slots=True)
class _Repository:
    repository_id: int
    difference: Difference
    hint: bytes | None


class PlanDraft:
    """The plan of one dry run, of the task `task_id`; to be closed."""

    def __init__(self, task_id: str) -> None:
        self._task_id = task_id
        self._files: list[tuple[str, IO[bytes]]] = []
        self._repositories: list[_Repository] = []
        self._has_publications = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def clear(self) -> None:
        """Forgets all: the rehearsal begins again."""
        for _, file in self._files:
            file.close()
        self._files = []
        self._repositories = []
        self._has_publications = False

    def take_repository(
        self, cursor: Cursor, scope: Scope, difference: Difference, hint: bytes | None
    ) -> None:
        """Takes what is in the temporary tables of a commit, of one repository."""
        parameters = {**scope.parameters, "task": self._task_id}
        self._repositories.append(_Repository(scope.repository_id, difference, hint))
        self._copy(cursor, "plan_unit", _UNITS, parameters)
        self._copy(cursor, "plan_edge", _EDGES, parameters)

    def take_publications(self, cursor: Cursor, workspace_id: int) -> None:
        """Takes the publications that were staged."""
        parameters = {"workspace": workspace_id, "task": self._task_id}
        cursor.execute(
            "SELECT EXISTS (SELECT FROM staged_publication WHERE workspace_id = %s)",
            (workspace_id,),
        )
        self._has_publications = bool((cursor.fetchone() or (False,))[0])
        if self._has_publications:
            self._copy(cursor, "plan_publication", _PUBLICATIONS, parameters)
            self._copy(cursor, "plan_file", _FILES, parameters)

    def write(self, cursor: Cursor) -> None:
        """Keeps the plan; not of a task that would change no repository and publish nothing.

        To be called while what was staged is still there, so that no unit of it is collected.
        """
        if not (self._repositories or self._has_publications):
            return
        # Its number first: a collector that condemned what this transaction names waits for it.
        cursor.execute("SELECT pg_current_xact_id()")
        cursor.execute(
            "INSERT INTO plan (task_id, expires_at) VALUES (%s::uuid, now() + %s::interval)",
            (self._task_id, _KEEP),
        )
        for one in self._repositories:
            found = one.difference
            cursor.execute(
                "INSERT INTO plan_repository"
                " (task_id, repository_id, name, base_version, added, removed, replaced, hint)"
                " VALUES (%s::uuid, %s, %s, %s, %s, %s, %s, %s)",
                (
                    self._task_id,
                    one.repository_id,
                    found.repository,
                    found.base_version,
                    found.added,
                    found.removed,
                    found.replaced,
                    one.hint,
                ),
            )
        for table, file in self._files:
            file.seek(0)
            cursor.copy_expert(f"COPY {table} FROM STDIN (FORMAT binary)", file)
        # What came along by closure may have been condemned; reviving it was rolled back.
        cursor.execute(_REVIVE, (self._task_id,))

    def _copy(self, cursor: Cursor, table: str, query: str, parameters: dict[str, object]) -> None:
        file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  closed by clear
        self._files.append((table, file))
        asked = cursor.mogrify(query, parameters).decode()
        cursor.copy_expert(f"COPY ({asked}) TO STDOUT (FORMAT binary)", file)


# The columns in the order of the tables. 1 comes, 2 comes in the place of 4, 3 leaves, 5 stays.
_UNITS = """
WITH leaving AS (
  SELECT r.content_id, r.is_replaced, c.type_id, c.repo_key,
         coalesce((SELECT min(a.relative_path) FROM artifact a WHERE a.content_id = c.content_id),
                  c.repo_key) AS path
    FROM removed_unit r JOIN content c USING (content_id)
), pair AS (
  SELECT a.content_id AS added, l.content_id AS removed
    FROM added_unit a
    JOIN leaving l ON l.type_id = a.type_id AND l.repo_key = a.repo_key AND l.is_replaced
), coming AS (
  SELECT a.content_id, p.removed, a.explicit,
         CASE WHEN p.removed IS NULL THEN 1 ELSE 2 END AS change,
         row_number() OVER (PARTITION BY p.removed IS NULL
                            ORDER BY coalesce(a.path, a.repo_key), a.content_id) AS place
    FROM added_unit a LEFT JOIN pair p ON p.added = a.content_id
)
SELECT %(task)s::uuid, change::smallint, %(repository)s::bigint, place::integer, content_id,
       explicit
  FROM coming
 UNION ALL
SELECT %(task)s::uuid, 4::smallint, %(repository)s::bigint, place::integer, removed, false
  FROM coming WHERE removed IS NOT NULL
 UNION ALL
SELECT %(task)s::uuid, 3::smallint, %(repository)s::bigint,
       (row_number() OVER (ORDER BY l.path, l.content_id))::integer, l.content_id, false
  FROM leaving l WHERE NOT EXISTS (SELECT FROM pair p WHERE p.removed = l.content_id)
 UNION ALL
SELECT %(task)s::uuid, 5::smallint, %(repository)s::bigint,
       (row_number() OVER (ORDER BY content_id))::integer, content_id, explicit
  FROM changed_reason r
 WHERE NOT EXISTS (SELECT FROM removed_unit d WHERE d.content_id = r.content_id)
"""

# The rehearsal has written these: by the number of the version that it would have made.
_EDGES = """
SELECT %(task)s::uuid, repository_id, source, kind, target, false
  FROM scoped_edge
 WHERE repository_id = %(repository)s AND added_in = %(number)s
 UNION ALL
SELECT %(task)s::uuid, repository_id, source, kind, target, true
  FROM scoped_edge
 WHERE repository_id = %(repository)s AND removed_in = %(number)s
"""

_PUBLICATIONS = """
SELECT %(task)s::uuid, role, hide_version FROM staged_publication
 WHERE workspace_id = %(workspace)s
"""

_FILES = """
SELECT %(task)s::uuid, role, path, digest, content_id, relative_path, media_type
  FROM staged_file WHERE workspace_id = %(workspace)s
"""

_REVIVE = """
WITH orphaned AS (
  SELECT c.content_id FROM plan_unit u JOIN content c USING (content_id)
   WHERE u.task_id = %s::uuid AND c.orphaned_at IS NOT NULL
   ORDER BY c.content_id FOR UPDATE OF c)
UPDATE content c SET condemned = false, orphaned_at = NULL
  FROM orphaned o WHERE c.content_id = o.content_id
"""
