"""What dry runs of core's own tasks found: units and blobs by name, which no plan keeps.

Who approves such a plan has it done to what it names, and to nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg2.extras import execute_values

from entrepot_core.domain.errors import AttemptSupersededError, BaseMovedError, Precondition
from entrepot_core.store import retry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from entrepot_core.domain.blob import Blob
    from entrepot_core.store.database import Cursor, Database

__all__ = [
    "BLOBS",
    "BLOB_IS_PLANNED",
    "UNITS",
    "UNIT_IS_PLANNED",
    "PlanItems",
    "check_blobs",
    "check_units",
]

_AT_ONCE = 1_000
_KEEP = "7 days"
_NAMED = 10

BLOBS = "SELECT 'blobs/' || encode(b.digest, 'hex'), '', b.size_bytes FROM blob b WHERE "
"""Name, path and size of blobs, to be followed by a condition on the row `b`."""

UNITS = (
    "SELECT 'content/' || t.plugin || '/' || t.collection || '/' || encode(c.key_digest, 'hex'),"
    " coalesce((SELECT min(a.relative_path) FROM artifact a WHERE a.content_id = c.content_id),"
    "  c.repo_key, ''),"
    " coalesce((SELECT sum(a.size_bytes) FROM artifact a WHERE a.content_id = c.content_id), 0)"
    " FROM content c JOIN content_type t USING (type_id) WHERE "
)
"""The same of units, with a condition on the row `c`."""

BLOB_IS_PLANNED = """(%(plan)s::uuid IS NULL OR EXISTS (SELECT FROM plan_item i
  WHERE i.task_id = %(plan)s::uuid AND i.name = 'blobs/' || encode(b.digest, 'hex')))"""
"""Whether the approved plan `plan` names the row `b` of blob; so it does if no plan is given."""

UNIT_IS_PLANNED = """(%(plan)s::uuid IS NULL OR EXISTS (SELECT FROM plan_item i, content_type t
  WHERE t.type_id = c.type_id AND i.task_id = %(plan)s::uuid
    AND i.name = 'content/' || t.plugin || '/' || t.collection || '/'
        || encode(c.key_digest, 'hex')))"""
"""The same of the row `c` of content."""


def check_blobs(database: Database, condition: str, parameters: Mapping[str, object]) -> None:
    """Raises BaseMovedError if the condition on `b` does not hold for a blob of the plan any more.

    What is gone is no reason: it has been done.
    """
    _check(database, f"{BLOBS} {BLOB_IS_PLANNED} AND NOT ({condition})", parameters)


def check_units(database: Database, condition: str, parameters: Mapping[str, object]) -> None:
    """The same of units, with a condition on `c`."""
    _check(database, f"{UNITS} {UNIT_IS_PLANNED} AND NOT ({condition})", parameters)


class PlanItems:
    """The plan of one attempt at a dry run; what attempts before it found is forgotten.

    Its methods raise AttemptSupersededError if another attempt owns the task.
    """

    def __init__(self, database: Database, workspace_id: int, task_id: str) -> None:
        self._database = database
        self._workspace_id = workspace_id
        self._task_id = task_id
        self._rows: list[tuple[str, int, str, str, int, bool]] = []
        retry.run(database, self._begin)

    def add_blob(self, change: int, blob: Blob, *, is_fetched: bool = False) -> None:
        """A blob that is to be added, replaced or removed; written with `close` at the latest."""
        name = f"blobs/{blob.hex}"
        self._rows.append((self._task_id, change, name, "", blob.size_bytes, is_fetched))
        if len(self._rows) >= _AT_ONCE:
            self.close()

    def select(self, change: int, query: str, parameters: Mapping[str, object]) -> None:
        """What a query finds: its name, its path and its size."""

        def write(cursor: Cursor) -> None:
            self._fence(cursor)
            cursor.execute(
                "INSERT INTO plan_item (task_id, change, name, path, size_bytes, is_fetched)"
                f" SELECT %(task)s::uuid, %(change)s, f.*, false FROM ({query}"
                " ORDER BY 2, 1) AS f(name, path, size_bytes)",
                {**parameters, "task": self._task_id, "change": change},
            )

        retry.run(self._database, write)

    def close(self) -> None:
        """Writes what has been added."""
        rows = self._rows

        def write(cursor: Cursor) -> None:
            self._fence(cursor)
            execute_values(
                cursor,
                "INSERT INTO plan_item (task_id, change, name, path, size_bytes, is_fetched)"
                " VALUES %s",
                rows,
            )

        if rows:
            retry.run(self._database, write)
        self._rows = []

    def _begin(self, cursor: Cursor) -> None:
        self._fence(cursor)
        cursor.execute("DELETE FROM plan_item WHERE task_id = %s::uuid", (self._task_id,))
        cursor.execute(
            "INSERT INTO plan (task_id, expires_at) VALUES (%s::uuid, now() + %s::interval)"
            " ON CONFLICT (task_id) DO UPDATE SET expires_at = EXCLUDED.expires_at",
            (self._task_id, _KEEP),
        )

    def _fence(self, cursor: Cursor) -> None:
        cursor.execute(
            "SELECT FROM workspace WHERE workspace_id = %s FOR KEY SHARE", (self._workspace_id,)
        )
        if not cursor.rowcount:
            raise AttemptSupersededError("Another attempt owns the task now; stop.")


def _check(database: Database, query: str, parameters: Mapping[str, object]) -> None:
    rows = database.fetch(f"{query} ORDER BY 1 LIMIT {_NAMED + 1}", parameters)
    if not rows:
        return
    plan = parameters["plan"]
    names = [name for name, *_ in rows[:_NAMED]]
    more = " and others" if len(rows) > _NAMED else ""
    raise BaseMovedError(
        f"The plan of tasks/{plan} cannot be committed: what it would remove is needed again, or "
        f"has been stored anew: {', '.join(names)}{more}. Do the dry run again.",
        metadata={"resource": names[0]},
        preconditions=tuple(
            Precondition("BASE", name, f"{name} may not be removed any more.") for name in names
        ),
    )
