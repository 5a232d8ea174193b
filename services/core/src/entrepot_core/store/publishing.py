"""Publications at commit, out of the files that an attempt staged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_core.domain.errors import BlobMissingError, NeededUnitMissingError
from entrepot_core.domain.names import new_id
from entrepot_core.store import content_rules, possession

if TYPE_CHECKING:
    from collections.abc import Iterator

    from entrepot_core.domain.change import CommitRequest, Difference
    from entrepot_core.store.database import Cursor
    from entrepot_core.store.lending import LentRepository

__all__ = ["publish"]


def publish(
    cursor: Cursor,
    request: CommitRequest,
    lent: dict[str, LentRepository],
    made: dict[int, Difference],
) -> Iterator[str]:
    """Names of the publications made, in order of role; each of the version the role ends with."""
    cursor.execute(
        "SELECT role, hide_version FROM staged_publication WHERE workspace_id = %s ORDER BY role",
        (request.workspace_id,),
    )
    for role, hide_version in cursor.fetchall():
        one = lent[role]
        difference = made.get(one.repository_id) if one.is_writable else None
        number = one.base_version if difference is None else difference.version
        _check(cursor, request, role, one.repository_id, number)
        if request.dry_run:
            yield "publications/dry-run"
        else:
            yield _write(cursor, request, one, role, number, pass_through=not hide_version)


def _write(
    cursor: Cursor,
    request: CommitRequest,
    lent: LentRepository,
    role: str,
    number: int,
    *,
    pass_through: bool,
) -> str:
    publication_id = new_id()
    cursor.execute(
        "INSERT INTO publication (publication_id, plugin, repository_id, number, file_count,"
        " pass_through, task_id)"
        " SELECT %s, r.plugin, r.repository_id, %s,"
        "  (SELECT count(*) FROM staged_file WHERE workspace_id = %s AND role = %s), %s, %s"
        " FROM repository r WHERE r.repository_id = %s RETURNING plugin",
        (
            publication_id,
            number,
            request.workspace_id,
            role,
            pass_through,
            request.task_id,
            lent.repository_id,
        ),
    )
    (plugin,) = cursor.fetchone() or ("",)
    cursor.execute(
        "INSERT INTO published_file"
        " (publication_id, path, digest, content_id, relative_path, media_type)"
        " SELECT %s, path, digest, content_id, relative_path, media_type FROM staged_file"
        " WHERE workspace_id = %s AND role = %s ORDER BY path",
        (publication_id, request.workspace_id, role),
    )
    return f"publications/{plugin}/{publication_id}"


def _check(
    cursor: Cursor, request: CommitRequest, role: str, repository_id: int, number: int
) -> None:
    scope = {"workspace": request.workspace_id, "role": role}
    cursor.execute(_FOLDER, scope)
    overlap = cursor.fetchone()
    if overlap is not None:
        raise content_rules.path_overlap(*overlap)
    cursor.execute(
        "SELECT DISTINCT digest FROM staged_file"
        " WHERE workspace_id = %(workspace)s AND role = %(role)s AND digest IS NOT NULL",
        scope,
    )
    digests = [bytes(row[0]) for row in cursor.fetchall()]
    unusable = possession.unusable(cursor, request.workspace_id, digests) if digests else []
    if unusable:
        raise BlobMissingError(
            f"The task staged a file with the bytes {unusable[0].hex()}, which it neither fetched "
            "nor wrote.",
            metadata={"digest": unusable[0].hex()},
        )
    if request.dry_run:
        # A version that was not written has no members to compare with.
        return
    cursor.execute(_NOT_IN_VERSION, {**scope, "repository": repository_id, "number": number})
    outside = cursor.fetchone()
    if outside is not None:
        raise NeededUnitMissingError(
            f'The published file "{outside[0]}" is of a unit that is not in the version.',
            metadata={"unit": outside[0], "needs": outside[1]},
        )


_FOLDER = """
SELECT path, next FROM (
  SELECT path, lead(path) OVER (ORDER BY translate(path, '/', E'\\x01') COLLATE "C") AS next
    FROM staged_file WHERE workspace_id = %(workspace)s AND role = %(role)s) q
 WHERE starts_with(next, path || '/') LIMIT 1
"""

_NOT_IN_VERSION = """
SELECT f.path, f.relative_path
  FROM staged_file f
 WHERE f.workspace_id = %(workspace)s AND f.role = %(role)s AND f.content_id IS NOT NULL
   AND NOT EXISTS (
     SELECT FROM member m
      WHERE m.repository_id = %(repository)s AND m.content_id = f.content_id
        AND m.added_in <= %(number)s AND m.removed_in > %(number)s)
 ORDER BY f.path LIMIT 1
"""
