"""What people know units by: their first path, their repository key, or their name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from entrepot_core.store.database import Cursor

__all__ = ["name_of_key", "names", "of"]

_LABELS = """
SELECT c.content_id,
       coalesce((SELECT min(a.relative_path) FROM artifact a WHERE a.content_id = c.content_id),
                c.repo_key,
                'content/' || t.plugin || '/' || t.collection || '/'
                  || encode(c.key_digest, 'hex'))
  FROM content c JOIN content_type t USING (type_id)
 WHERE c.content_id = ANY(%s::bigint[])
"""

_NAMES = """
SELECT c.content_id,
       'content/' || t.plugin || '/' || t.collection || '/' || encode(c.key_digest, 'hex')
  FROM content c JOIN content_type t USING (type_id)
 WHERE c.content_id = ANY(%s::bigint[])
"""


def of(cursor: Cursor, content_ids: Sequence[int]) -> dict[int, str]:
    """A label for each unit, also for one that is gone."""
    cursor.execute(_LABELS, (list(content_ids),))
    return {**{i: f"unit {i}" for i in content_ids}, **dict(cursor.fetchall())}


def names(cursor: Cursor, content_ids: Sequence[int]) -> dict[int, str]:
    """The full name of each unit."""
    cursor.execute(_NAMES, (list(content_ids),))
    return dict(cursor.fetchall())


def name_of_key(cursor: Cursor, type_id: int, key_digest: bytes) -> str:
    """The full name of a unit that core need not have."""
    cursor.execute("SELECT plugin, collection FROM content_type WHERE type_id = %s", (type_id,))
    plugin, collection = cursor.fetchone() or ("?", "?")
    return f"content/{plugin}/{collection}/{key_digest.hex()}"
