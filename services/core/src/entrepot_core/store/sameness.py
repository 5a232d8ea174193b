"""Whether a unit is the one that is stored under its key, when their digests differ.

They may all the same be one unit: two upstreams may know different digests of the same file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_core.domain.unit import EdgeScope

if TYPE_CHECKING:
    from entrepot_core.domain.unit import Unit
    from entrepot_core.store.database import Cursor

__all__ = ["same_unit"]


def same_unit(cursor: Cursor, content_id: int, unit: Unit) -> bool:
    """Whether nothing that is known of both contradicts: then they are taken as one unit.

    A SHA-256 that was not known until now is kept; a download will verify it with the others.
    """
    cursor.execute("SELECT attributes FROM content WHERE content_id = %s", (content_id,))
    stored = cursor.fetchone()
    if stored is None or bytes(stored[0]) != unit.attributes:
        return False
    if _edges(cursor, content_id) != {
        (int(e.kind), e.type_id, e.key_digest) for e in unit.edges if e.scope == EdgeScope.GLOBAL
    }:
        return False
    cursor.execute(
        "SELECT relative_path, digest, coalesce(other_digests, '{}') FROM artifact"
        " WHERE content_id = %s",
        (content_id,),
    )
    known = {row[0]: (row[1] and bytes(row[1]), row[2]) for row in cursor.fetchall()}
    if set(known) != {artifact.relative_path for artifact in unit.artifacts}:
        return False
    learned = []
    for artifact in unit.artifacts:
        sha256, others = known[artifact.relative_path]
        common = set(others) & set(artifact.other_digests)
        if any(others[name] != artifact.other_digests[name] for name in common):
            return False
        if sha256 is not None and artifact.sha256 is not None:
            if sha256 != artifact.sha256:
                return False
        elif not common:
            return False
        elif sha256 is None and artifact.sha256 is not None:
            learned.append((artifact.sha256, content_id, artifact.relative_path))
    for row in learned:
        cursor.execute(
            "UPDATE artifact SET digest = %s"
            " WHERE content_id = %s AND relative_path = %s AND digest IS NULL",
            row,
        )
    return True


def _edges(cursor: Cursor, content_id: int) -> set[tuple[int, int, bytes]]:
    cursor.execute(
        "SELECT e.kind, c.type_id, c.key_digest FROM edge e JOIN content c"
        " ON c.content_id = e.target WHERE e.source = %(unit)s"
        " UNION SELECT kind, type_id, key_digest FROM unresolved_edge WHERE source = %(unit)s",
        {"unit": content_id},
    )
    return {(row[0], row[1], bytes(row[2])) for row in cursor.fetchall()}
