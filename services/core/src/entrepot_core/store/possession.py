"""Who may have a blob because of knowing its digest: the one place that decides it.

A digest is no secret: whoever hashed a file once knows it. So an attempt gets by digest only what
it was lent, has fetched or has written (`unusable`); to all else the answer is that of a blob that
does not exist. A user gets every blob that is here (`of_user`), as there is one principal, who may
read everything anyway. With permissions, `of_user` keeps to what its principal can read.

What is not decided here: a file that a plugin stages with a digest *and* a source is not fetched
again if it is here. To ask for proof would fetch again what an attempt before it had verified.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_core.store import blobs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from entrepot_core.domain.blob import Blob
    from entrepot_core.store.database import Cursor

__all__ = ["of_user", "unusable"]


def of_user(cursor: Cursor, digests: Collection[bytes]) -> dict[bytes, Blob]:
    """Those of the blobs that a user may name without sending them, by digest; live from now on.

    Must be called before the rows that name them are written.
    """
    return blobs.revive(cursor, digests)


def unusable(cursor: Cursor, workspace_id: int, digests: Iterable[bytes]) -> list[bytes]:
    """Those blobs that are not there, or that the attempt may not use.

    It may use what it fetched, wrote or was told of, and what the versions and the units that it
    was lent have.
    """
    cursor.execute(_UNUSABLE, {"workspace": workspace_id, "digests": sorted(set(digests))})
    return [bytes(row[0]) for row in cursor.fetchall()]


_UNUSABLE = """
SELECT wanted.digest FROM unnest(%(digests)s::bytea[]) AS wanted(digest)
 WHERE NOT EXISTS (
         SELECT FROM blob b WHERE b.digest = wanted.digest AND b.state = 'live')
    OR NOT (
         EXISTS (SELECT FROM attempt_blob h
                  WHERE h.workspace_id = %(workspace)s AND h.digest = wanted.digest)
      OR EXISTS (SELECT FROM artifact a
                   JOIN member m USING (content_id)
                   JOIN lent_repository l ON l.workspace_id = %(workspace)s
                    AND l.repository_id = m.repository_id
                    AND m.added_in <= l.base_version AND m.removed_in > l.base_version
                  WHERE a.digest = wanted.digest)
      OR EXISTS (SELECT FROM artifact a
                   JOIN lent_content l USING (content_id)
                  WHERE l.workspace_id = %(workspace)s AND a.digest = wanted.digest))
"""
