"""What dry runs of core's own tasks found: units and blobs by name, which no plan keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg2.extras import execute_values

from entrepot_core.domain.errors import AttemptSupersededError
from entrepot_core.store import retry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from entrepot_core.domain.blob import Blob
    from entrepot_core.store.database import Cursor, Database

__all__ = ["BLOBS", "UNITS", "PlanItems"]

_AT_ONCE = 1_000
_KEEP = "7 days"

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
