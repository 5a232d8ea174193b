"""What must hold of a version's content, checked at commit: keys, paths, bytes.

The unique keys of member and member_path are the guarantee; what is here says which units are
concerned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_core.domain.errors import (
    BlobMissingError,
    PathOverlapsError,
    RepositoryKeyConflictError,
    SizeMismatchError,
)
from entrepot_core.store import labels, possession

if TYPE_CHECKING:
    from entrepot_core.domain.change import CommitRequest
    from entrepot_core.store.database import Cursor
    from entrepot_core.store.edges import Scope

__all__ = ["check_blobs", "check_keys_and_paths", "replace_keys"]


def replace_keys(cursor: Cursor, scope: Scope, *, may_replace: bool) -> None:
    """Takes out members whose repository key an added unit takes.

    Raises RepositoryKeyConflictError if two added units, or an added one and one that the attempt
    keeps, have the same.
    """
    cursor.execute(_SAME_KEY_ADDED)
    twins = cursor.fetchone()
    if twins is not None:
        raise _key_conflict(cursor, *twins)
    cursor.execute(_SAME_KEY_KEPT, {**scope.parameters, "may_replace": may_replace})
    twins = cursor.fetchone()
    if twins is not None:
        raise _key_conflict(cursor, *twins)
    cursor.execute(_REPLACE, scope.parameters)


def check_keys_and_paths(cursor: Cursor, scope: Scope, *, has_members: bool) -> None:
    """Raises RepositoryKeyConflictError for a path of two units, and PathOverlapsError."""
    cursor.execute(_FURTHER_PATHS)
    cursor.execute(_SAME_PATH_ADDED)
    twins = cursor.fetchone()
    if twins is not None:
        raise _path_conflict(cursor, *twins)
    cursor.execute(_FOLDER_ADDED)
    overlap = cursor.fetchone()
    if overlap is None and has_members:
        cursor.execute(_SAME_PATH_KEPT, scope.parameters)
        twins = cursor.fetchone()
        if twins is not None:
            raise _path_conflict(cursor, *twins)
        cursor.execute(_FOLDER_KEPT, scope.parameters)
        overlap = cursor.fetchone()
    if overlap is not None:
        raise path_overlap(*overlap)


def path_overlap(path: str, other: str) -> PathOverlapsError:
    """The error that says that a file's path is a folder of another's."""
    return PathOverlapsError(
        f'"{path}" is a file and cannot be the folder of "{other}" as well.',
        metadata={"path": path, "other": other},
    )


def check_blobs(cursor: Cursor, request: CommitRequest, scope: Scope) -> None:
    """Raises BlobMissingError for a file that is neither stored nor to be had.

    Bytes that are here already must have the size that the unit says, or it is a
    SizeMismatchError.

    Files of a remote whose policy is immediate must be stored by now, but for a dry run. What a
    plugin staged without a source must be bytes that its attempt may use.
    """
    cursor.execute(
        _IN_QUESTION,
        {
            **scope.parameters,
            "dry_run": request.dry_run,
            "asks_for_given": not request.is_ready_made,
        },
    )
    given: dict[bytes, str] = {}
    for path, digest, is_here, has_source in cursor.fetchall():
        shown = "" if digest is None else bytes(digest).hex()
        if is_here:
            given.setdefault(bytes(digest), path)
        elif has_source:
            raise BlobMissingError(
                f'The file "{path}" was not downloaded.', metadata={"digest": shown, "unit": path}
            )
        else:
            raise _absent(path, shown)
    unusable = possession.unusable(cursor, request.workspace_id, given) if given else []
    if unusable:
        # In the words for bytes that nobody has, so that a digest cannot be probed.
        raise _absent(given[unusable[0]], unusable[0].hex())
    cursor.execute(_OTHER_SIZE)
    row = cursor.fetchone()
    if row is not None:
        path, expected, actual = row
        raise SizeMismatchError(
            f'The file "{path}" has {actual} bytes, not {expected}.',
            metadata={"unit": path, "expected": str(expected), "actual": str(actual)},
        )


def _absent(path: str, digest: str) -> BlobMissingError:
    return BlobMissingError(
        f'The task has neither the bytes of "{path}" nor a source for them.',
        metadata={"digest": digest, "unit": path},
    )


def _key_conflict(cursor: Cursor, key: str, unit: int, other: int) -> RepositoryKeyConflictError:
    names = labels.names(cursor, [unit, other])
    return RepositoryKeyConflictError(
        f'Two units have the repository key "{key}": {names[unit]} and {names[other]}.',
        metadata={"key": key, "unit": names[unit], "other": names[other]},
    )


def _path_conflict(cursor: Cursor, path: str, unit: int, other: int) -> RepositoryKeyConflictError:
    names = labels.names(cursor, [unit, other])
    return RepositoryKeyConflictError(
        f'Two units have the path "{path}": {names[unit]} and {names[other]}.',
        metadata={"key": path, "unit": names[unit], "other": names[other]},
    )


# --- statements ---------------------------------------------------------------------------------

_SAME_KEY_ADDED = """
SELECT repo_key, min(content_id), max(content_id) FROM added_unit
 WHERE repo_key IS NOT NULL
 GROUP BY type_id, repo_key HAVING count(*) > 1
 ORDER BY type_id, repo_key LIMIT 1
"""

# Members with the key of an added unit. The key is in `path` where it equals the path.
_WITH_KEY = """
  SELECT a.repo_key, a.content_id AS added, m.content_id
    FROM added_unit a
    JOIN member m ON m.repository_id = %(repository)s AND m.type_id = a.type_id
     AND m.repo_key = a.repo_key AND m.removed_in = %(current)s
  UNION ALL
  SELECT a.repo_key, a.content_id, m.content_id
    FROM added_unit a
    JOIN member m ON m.repository_id = %(repository)s AND m.path = a.repo_key
     AND m.removed_in = %(current)s AND m.type_id = a.type_id AND m.repo_key IS NULL
    JOIN content c ON c.content_id = m.content_id AND c.repo_key = a.repo_key
"""

_SAME_KEY_KEPT = (
    """
SELECT k.repo_key, k.added, k.content_id FROM ("""
    + _WITH_KEY
    + """) k
 WHERE NOT EXISTS (SELECT FROM removed_unit r WHERE r.content_id = k.content_id)
   AND (NOT %(may_replace)s OR EXISTS (
     SELECT FROM staged g
      WHERE g.workspace_id = %(workspace)s AND g.repository_id = %(repository)s
        AND g.content_id = k.content_id AND NOT g.removed))
 LIMIT 1
"""
)

_REPLACE = (
    """
INSERT INTO removed_unit (content_id, is_replaced)
SELECT k.content_id, true FROM ("""
    + _WITH_KEY
    + """) k
    ON CONFLICT (content_id) DO UPDATE SET is_replaced = true
"""
)

_FURTHER_PATHS = """
INSERT INTO added_path (content_id, path)
SELECT u.content_id, a.relative_path
  FROM added_unit u JOIN artifact a USING (content_id)
 WHERE a.relative_path <> u.path
"""

_ADDED_PATHS = """
  SELECT content_id, path FROM added_unit WHERE path IS NOT NULL
  UNION ALL
  SELECT content_id, path FROM added_path
"""

_SAME_PATH_ADDED = (
    """
SELECT path, min(content_id), max(content_id) FROM ("""
    + _ADDED_PATHS
    + """) p
 GROUP BY path HAVING count(*) > 1 ORDER BY path LIMIT 1
"""
)

# With "/" before all other characters, what is in a folder follows on a file of its name.
_FOLDER_ADDED = (
    """
SELECT path, next FROM (
  SELECT path, lead(path) OVER (ORDER BY translate(path, '/', E'\\x01') COLLATE "C") AS next
    FROM ("""
    + _ADDED_PATHS
    + """) p) q
 WHERE starts_with(next, path || '/') LIMIT 1
"""
)

_SAME_PATH_KEPT = (
    """
SELECT p.path, p.content_id, m.content_id FROM ("""
    + _ADDED_PATHS
    + """) p
 CROSS JOIN LATERAL (
   SELECT content_id FROM member
    WHERE repository_id = %(repository)s AND path = p.path AND removed_in = %(current)s
    UNION ALL
   SELECT content_id FROM member_path
    WHERE repository_id = %(repository)s AND path = p.path AND removed_in = %(current)s) m
 WHERE NOT EXISTS (SELECT FROM removed_unit r WHERE r.content_id = m.content_id)
 ORDER BY p.path LIMIT 1
"""
)

# Two probes of an index: for each folder of an added path, a file of that name; for each added
# path, a file below it.
_FOLDER_KEPT = (
    """
WITH RECURSIVE p AS ("""
    + _ADDED_PATHS
    + """), folder(path) AS (
  SELECT DISTINCT substring(path FROM '^(.*)/[^/]*$') FROM p WHERE path LIKE '%%/%%'
  UNION
  SELECT substring(path FROM '^(.*)/[^/]*$') FROM folder WHERE path LIKE '%%/%%'
)
SELECT f.path, (SELECT min(p.path) FROM p WHERE starts_with(p.path, f.path || '/'))
  FROM folder f
 CROSS JOIN LATERAL (
   SELECT content_id FROM member
    WHERE repository_id = %(repository)s AND path = f.path AND removed_in = %(current)s
    UNION ALL
   SELECT content_id FROM member_path
    WHERE repository_id = %(repository)s AND path = f.path AND removed_in = %(current)s) m
 WHERE NOT EXISTS (SELECT FROM removed_unit r WHERE r.content_id = m.content_id)
UNION ALL
SELECT p.path, m.path
  FROM p
 CROSS JOIN LATERAL (
   (SELECT path FROM member k
     WHERE repository_id = %(repository)s AND path > p.path || '/' AND path < p.path || '0'
       AND removed_in = %(current)s
       AND NOT EXISTS (SELECT FROM removed_unit r WHERE r.content_id = k.content_id)
     ORDER BY path LIMIT 1)
    UNION ALL
   (SELECT path FROM member_path k
     WHERE repository_id = %(repository)s AND path > p.path || '/' AND path < p.path || '0'
       AND removed_in = %(current)s
       AND NOT EXISTS (SELECT FROM removed_unit r WHERE r.content_id = k.content_id)
     ORDER BY path LIMIT 1)) m
LIMIT 1
"""
)

# Files that are not here and cannot be had later, and those that a plugin gave without a source.
# What belongs to a file is looked up, and not joined: a join would read the sources of all files
# that there are, and a commit costs what it changes. The first that is found is enough.
_IN_QUESTION = """
SELECT relative_path, digest, is_here,
       (SELECT true FROM artifact_source s
         WHERE s.content_id = f.content_id AND s.relative_path = f.relative_path
           AND (SELECT true FROM remote r WHERE r.remote_id = s.remote_id) LIMIT 1) AS has_source
  FROM (
    SELECT a.content_id, a.relative_path, a.digest, g.content_id IS NOT NULL AS is_given,
           (SELECT true FROM blob b
             WHERE b.digest = a.digest AND b.state = 'live') IS NOT NULL AS is_here
      FROM added_unit u
      JOIN artifact a USING (content_id)
      LEFT JOIN staged g ON g.workspace_id = %(workspace)s AND g.repository_id = %(repository)s
       AND g.content_id = u.content_id AND g.has_scope
    OFFSET 0) f
 WHERE CASE WHEN is_here THEN %(asks_for_given)s AND is_given AND (
         SELECT true FROM artifact_source s
          WHERE s.content_id = f.content_id AND s.relative_path = f.relative_path LIMIT 1) IS NULL
       ELSE (
         SELECT true FROM artifact_source s
          WHERE s.content_id = f.content_id AND s.relative_path = f.relative_path
            AND (SELECT %(dry_run)s OR r.policy <> 'immediate'
                   FROM remote r WHERE r.remote_id = s.remote_id) LIMIT 1) IS NULL
       END
 ORDER BY is_here, relative_path
"""

_OTHER_SIZE = """
SELECT a.relative_path, a.size_bytes, b.size_bytes
  FROM added_unit u
  JOIN artifact a USING (content_id)
  JOIN blob b ON b.digest = a.digest AND b.size_bytes <> a.size_bytes
 ORDER BY a.relative_path LIMIT 1
"""
