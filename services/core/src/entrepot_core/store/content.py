"""Reading content units: by name, of a type, of a version; always a page at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from entrepot_core.domain.unit import Artifact, EdgeScope, content_name
from entrepot_core.store import content_types

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from typing import Any

    from entrepot_core.domain.unit import ContentType
    from entrepot_core.store.database import Cursor

__all__ = [
    "Change",
    "Condition",
    "ContentRow",
    "EdgeRow",
    "VersionRange",
    "compare",
    "find",
    "find_ids",
    "page_of_type",
    "page_of_version",
    "read_ids",
    "read_version",
    "with_details",
]


@dataclass(frozen=True, slots=True)
class EdgeRow:
    """A relation to a unit, by name."""

    kind: int
    scope: int
    target: str


@dataclass(frozen=True, slots=True)
class ContentRow:
    """A unit as stored. Files and relations are there if they were asked for (`with_details`)."""

    content_id: int
    type: ContentType
    key_digest: bytes
    repo_key: str | None
    attributes: bytes
    created_at: datetime
    is_explicit: bool = True
    artifacts: tuple[Artifact, ...] = ()
    edges: tuple[EdgeRow, ...] = ()
    is_stored: bool = True
    # Where the next page goes on: opaque to others.
    position: tuple[Any, ...] = ()

    @property
    def name(self) -> str:
        return content_name(self.type, self.key_digest)


@dataclass(frozen=True, slots=True)
class Condition:
    """Which units: of these types (none: of all), and a condition on `c` with its parameters."""

    type_ids: Sequence[int] = ()
    sql: str = "true"
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VersionRange:
    """A version of a repository."""

    repository_id: int
    number: int


@dataclass(frozen=True, slots=True)
class Change:
    """What differs at a repository key: the unit before and after, one of which may be absent."""

    key: str
    old_unit: str
    new_unit: str
    position: tuple[str, int, int, int]


_COLUMNS = "c.content_id, c.type_id, c.key_digest, c.repo_key, c.attributes, c.created_at"


def find(cursor: Cursor, content_type: ContentType, key_digest: bytes) -> ContentRow | None:
    """A unit by its key, with details; None if there is none."""
    cursor.execute(
        f"SELECT {_COLUMNS}, true FROM content c WHERE type_id = %s AND key_digest = %s",
        (content_type.type_id, key_digest),
    )
    rows = _rows(cursor)
    return with_details(cursor, rows)[0] if rows else None


def find_ids(cursor: Cursor, names: Sequence[tuple[int, bytes]]) -> dict[tuple[int, bytes], int]:
    """Numbers of the units that exist, by type and key digest."""
    cursor.execute(
        "SELECT c.type_id, c.key_digest, c.content_id"
        " FROM unnest(%s::integer[], %s::bytea[]) AS u(type_id, key_digest)"
        " JOIN content c USING (type_id, key_digest)",
        ([one[0] for one in names], [one[1] for one in names]),
    )
    return {(row[0], bytes(row[1])): row[2] for row in cursor.fetchall()}


def page_of_type(cursor: Cursor, condition: Condition, after: int, size: int) -> list[ContentRow]:
    """Units of all repositories and of none, by age; `position` is (number,)."""
    cursor.execute(
        f"SELECT {_COLUMNS}, true FROM content c"
        " WHERE c.type_id = ANY(%(types)s::integer[]) AND c.content_id > %(after)s"
        f" AND {condition.sql} ORDER BY c.content_id LIMIT %(size)s",
        {
            **condition.parameters,
            "types": list(condition.type_ids),
            "after": after,
            "size": size,
        },
    )
    return _rows(cursor, lambda row: (row[0],))


def page_of_version(
    cursor: Cursor,
    version: VersionRange,
    condition: Condition,
    after: tuple[Any, ...],
    size: int,
) -> list[ContentRow]:
    """Units of a version: those with files by path, then the others by type and key, then by age.

    `after` is the position of the last one of the page before, () for the first page.
    """
    found: list[ContentRow] = []
    phase = int(after[0]) if after else 1
    last = after[1:]
    while phase <= len(_PHASES) and len(found) < size:
        statement, columns = _PHASES[phase - 1]
        cursor.execute(
            statement.replace("{condition}", condition.sql),
            {
                **condition.parameters,
                "repository": version.repository_id,
                "number": version.number,
                "types": list(condition.type_ids),
                "size": size - len(found),
                "after": last[0] if last else _FIRST[phase - 1],
                "after_key": last[1] if len(last) > 1 else "",
            },
        )
        found += _rows(cursor, lambda row, n=columns, p=phase: (p, *row[7 : 7 + n]))
        phase, last = phase + 1, ()
    return found


def read_version(
    cursor: Cursor, version: VersionRange, condition: Condition, after: int, size: int
) -> list[ContentRow]:
    """Units of a version in the order of their numbers: the cheapest way through all of them."""
    cursor.execute(
        f"SELECT {_COLUMNS}, m.explicit FROM member m JOIN content c USING (content_id)"
        " WHERE m.repository_id = %(repository)s AND m.content_id > %(after)s"
        " AND m.added_in <= %(number)s AND m.removed_in > %(number)s"
        " AND (%(types)s::integer[] = '{}' OR m.type_id = ANY(%(types)s::integer[]))"
        f" AND {condition.sql} ORDER BY m.content_id LIMIT %(size)s",
        {
            **condition.parameters,
            "repository": version.repository_id,
            "number": version.number,
            "types": list(condition.type_ids),
            "after": after,
            "size": size,
        },
    )
    return _rows(cursor, lambda row: (row[0],))


def read_ids(cursor: Cursor, content_ids: Sequence[int]) -> list[ContentRow]:
    """These units, in the order of their numbers."""
    cursor.execute(
        f"SELECT {_COLUMNS}, true FROM content c WHERE c.content_id = ANY(%s::bigint[])"
        " ORDER BY c.content_id",
        (list(content_ids),),
    )
    return _rows(cursor, lambda row: (row[0],))


def with_details(
    cursor: Cursor, rows: Sequence[ContentRow], version: VersionRange | None = None
) -> list[ContentRow]:
    """The same with files and relations; with a version also with those that hold in it."""
    ids = [row.content_id for row in rows]
    artifacts: dict[int, list[Artifact]] = {}
    incomplete: set[int] = set()
    cursor.execute(_ARTIFACTS, (ids,))
    for content_id, path, digest, size, others, is_stored in cursor.fetchall():
        artifacts.setdefault(content_id, []).append(
            Artifact(path, None if digest is None else bytes(digest), size, others or {})
        )
        if not is_stored:
            incomplete.add(content_id)
    edges: dict[int, list[EdgeRow]] = {}
    cursor.execute(
        _EDGES,
        {
            "units": ids,
            "repository": version.repository_id if version else None,
            "number": version.number if version else None,
        },
    )
    for content_id, kind, scope, target in cursor.fetchall():
        edges.setdefault(content_id, []).append(EdgeRow(kind, scope, target))
    return [
        ContentRow(
            content_id=row.content_id,
            type=row.type,
            key_digest=row.key_digest,
            repo_key=row.repo_key,
            attributes=row.attributes,
            created_at=row.created_at,
            is_explicit=row.is_explicit,
            artifacts=tuple(artifacts.get(row.content_id, ())),
            edges=tuple(edges.get(row.content_id, ())),
            is_stored=row.content_id not in incomplete,
            position=row.position,
        )
        for row in rows
    ]


def compare(
    cursor: Cursor,
    repository_id: int,
    base: int,
    number: int,
    after: tuple[str, int, int, int] | None,
    size: int,
) -> list[Change]:
    """What differs in a version from a base of the same repository, by repository key."""
    older, newer = min(base, number), max(base, number)
    cursor.execute(
        _COMPARE,
        {
            "repository": repository_id,
            "older": older,
            "newer": newer,
            "forwards": base <= number,
            "is_first": after is None,
            **dict(zip(("key", "type", "old", "new"), after or ("", 0, 0, 0), strict=True)),
            "size": size,
        },
    )
    rows = cursor.fetchall()
    return [
        Change(key, old or "", new or "", (key, type_id, old_id, new_id))
        for key, type_id, old_id, new_id, old, new in rows
    ]


def _rows(cursor: Cursor, position: Any = None) -> list[ContentRow]:  # noqa: ANN401  a function of a row
    rows = cursor.fetchall()
    types = content_types.by_id(cursor) if rows else {}
    return [
        ContentRow(
            content_id=row[0],
            type=types[row[1]],
            key_digest=bytes(row[2]),
            repo_key=row[3],
            attributes=bytes(row[4]),
            created_at=row[5],
            is_explicit=row[6],
            position=position(row) if position else (),
        )
        for row in rows
    ]


# --- statements ---------------------------------------------------------------------------------

_MEMBER = f"""
SELECT {_COLUMNS}, m.explicit, %s
  FROM member m JOIN content c USING (content_id)
 WHERE m.repository_id = %%(repository)s
   AND m.added_in <= %%(number)s AND m.removed_in > %%(number)s
   AND (%%(types)s::integer[] = '{{}}' OR m.type_id = ANY(%%(types)s::integer[]))
   AND {{condition}}
"""

_BY_PATH = _MEMBER % "m.path" + " AND m.path > %(after)s ORDER BY m.path LIMIT %(size)s"
_BY_KEY = (
    _MEMBER % "m.type_id, m.repo_key"
    + " AND m.path IS NULL AND m.repo_key IS NOT NULL"
    + " AND (m.type_id, m.repo_key) > (%(after)s, %(after_key)s)"
    + " ORDER BY m.type_id, m.repo_key LIMIT %(size)s"
)
_BY_NUMBER = (
    _MEMBER % "m.content_id"
    + " AND m.path IS NULL AND m.repo_key IS NULL AND m.content_id > %(after)s"
    + " ORDER BY m.content_id LIMIT %(size)s"
)
_PHASES = ((_BY_PATH, 1), (_BY_KEY, 2), (_BY_NUMBER, 1))
_FIRST: tuple[str | int, ...] = ("", 0, 0)

_ARTIFACTS = """
SELECT a.content_id, a.relative_path, a.digest, a.size_bytes, a.other_digests,
       EXISTS (SELECT FROM blob b WHERE b.digest = a.digest AND b.state = 'live')
  FROM artifact a
 WHERE a.content_id = ANY(%s::bigint[])
 ORDER BY a.content_id, a.relative_path
"""

_NAME = "'content/' || t.plugin || '/' || t.collection || '/' || encode({}.key_digest, 'hex')"

_EDGES = f"""
SELECT e.source, e.kind, {EdgeScope.GLOBAL:d}, {_NAME.format("c")}
  FROM edge e JOIN content c ON c.content_id = e.target JOIN content_type t USING (type_id)
 WHERE e.source = ANY(%(units)s::bigint[])
 UNION ALL
SELECT u.source, u.kind, {EdgeScope.GLOBAL:d}, {_NAME.format("u")}
  FROM unresolved_edge u JOIN content_type t USING (type_id)
 WHERE u.source = ANY(%(units)s::bigint[])
 UNION ALL
SELECT e.source, e.kind, {EdgeScope.VERSION:d}, {_NAME.format("c")}
  FROM scoped_edge e JOIN content c ON c.content_id = e.target JOIN content_type t USING (type_id)
 WHERE e.repository_id = %(repository)s AND e.source = ANY(%(units)s::bigint[])
   AND e.added_in <= %(number)s AND e.removed_in > %(number)s
 ORDER BY 1, 2, 4
"""

_COMPARE = f"""
WITH came AS (
  SELECT m.content_id FROM member m
   WHERE m.repository_id = %(repository)s
     AND m.added_in > %(older)s AND m.added_in <= %(newer)s AND m.removed_in > %(newer)s
), went AS (
  SELECT m.content_id FROM member m
   WHERE m.repository_id = %(repository)s
     AND m.removed_in > %(older)s AND m.removed_in <= %(newer)s AND m.added_in <= %(older)s
), fresh AS (
  SELECT content_id FROM came WHERE %(forwards)s
  UNION ALL SELECT content_id FROM went WHERE NOT %(forwards)s
), stale AS (
  SELECT content_id FROM went WHERE %(forwards)s
  UNION ALL SELECT content_id FROM came WHERE NOT %(forwards)s
), change AS (
  SELECT coalesce(n.key, o.key, '') AS key, coalesce(n.type_id, o.type_id) AS type_id,
         coalesce(o.content_id, 0) AS old_id, coalesce(n.content_id, 0) AS new_id,
         o.key_digest AS old_digest, n.key_digest AS new_digest
    FROM (SELECT c.content_id, c.type_id, c.key_digest, coalesce(c.repo_key,
                   (SELECT min(a.relative_path) FROM artifact a
                     WHERE a.content_id = c.content_id)) AS key
            FROM fresh JOIN content c USING (content_id)) n
    FULL JOIN (SELECT c.content_id, c.type_id, c.key_digest, coalesce(c.repo_key,
                   (SELECT min(a.relative_path) FROM artifact a
                     WHERE a.content_id = c.content_id)) AS key
            FROM stale JOIN content c USING (content_id)) o
      ON o.type_id = n.type_id AND o.key = n.key
)
SELECT x.key, x.type_id, x.old_id, x.new_id,
       CASE WHEN x.old_id > 0 THEN {_NAME.replace("{}.key_digest", "x.old_digest")} END,
       CASE WHEN x.new_id > 0 THEN {_NAME.replace("{}.key_digest", "x.new_digest")} END
  FROM change x JOIN content_type t USING (type_id)
 WHERE %(is_first)s
    OR (x.key COLLATE "C", x.type_id, x.old_id, x.new_id) > (%(key)s, %(type)s, %(old)s, %(new)s)
 ORDER BY x.key COLLATE "C", x.type_id, x.old_id, x.new_id
 LIMIT %(size)s
"""
