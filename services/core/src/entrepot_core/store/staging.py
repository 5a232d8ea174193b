"""A staging call: units that an attempt proposes to add or remove, in one transaction.

The order of its steps is what makes it safe: a number for the transaction, so that the collector
waits for it; the workspace row, so that a superseded attempt writes nothing; the sequence, so that
a repeated call has the effect of one; then what was condemned is revived, and only then named.
Everything is written in the order of its key, or two of these would deadlock.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_core.domain.errors import (
    AttemptSupersededError,
    ContentConflictError,
    SequenceReusedError,
    UnitNotInRepositoryError,
)
from entrepot_core.domain.unit import EdgeScope, content_name, unit_digest
from entrepot_core.store import blobs, possession, workspaces
from entrepot_core.store.copying import copy_rows
from entrepot_core.store.intervals import CURRENT
from entrepot_core.store.sameness import same_unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from entrepot_core.domain.unit import ContentType, Unit
    from entrepot_core.store.database import Cursor

__all__ = [
    "StageAnswer",
    "StageRequest",
    "UnitName",
    "begin_call",
    "end_call",
    "revive_content",
    "stage",
    "stage_known",
]


@dataclass(frozen=True, slots=True)
class UnitName:
    """A unit by type and key."""

    type: ContentType
    key_digest: bytes

    @property
    def name(self) -> str:
        return content_name(self.type, self.key_digest)


@dataclass(frozen=True, slots=True)
class StageRequest:
    """One batch; repository 0 means that the units are made and added nowhere."""

    workspace_id: int
    repository_id: int
    sequence: int
    request_digest: bytes
    units: Sequence[Unit] = ()
    removes: Sequence[UnitName] = ()
    cascade: bool = False


@dataclass(frozen=True, slots=True)
class StageAnswer:
    """What core made of a batch; `existed` is in the order of its units."""

    existed: tuple[bool, ...]
    missing_blobs: tuple[bytes, ...]
    cancel_requested: bool


def stage(cursor: Cursor, request: StageRequest) -> StageAnswer:
    """Stages one batch.

    Raises AttemptSupersededError, SequenceReusedError, ContentConflictError naming the unit, and
    UnitNotInRepositoryError for a removal.
    """
    seen, cancel_requested = begin_call(
        cursor, request.workspace_id, request.sequence, request.request_digest
    )
    if seen is not None:
        known = json.loads(seen)
        return StageAnswer(
            tuple(flag == "1" for flag in known["existed"]),
            tuple(bytes.fromhex(digest) for digest in known["missing"]),
            cancel_requested,
        )
    # Also gives the transaction its number, before anything is looked at.
    blobs.revive(
        cursor,
        {a.sha256 for unit in request.units for a in unit.artifacts if a.sha256 is not None},
    )
    ids, created = _store(cursor, request.units)
    removed = _removed_ids(cursor, request) if request.repository_id else []
    _stage_rows(cursor, request, ids, removed)
    missing = _missing(cursor, request)
    answer = json.dumps(
        {
            "existed": "".join("0" if i in created else "1" for i in ids),
            "missing": [digest.hex() for digest in missing],
        }
    )
    end_call(cursor, request.workspace_id, request.sequence, answer, ids)
    return StageAnswer(tuple(i not in created for i in ids), missing, cancel_requested)


def begin_call(
    cursor: Cursor, workspace_id: int, sequence: int, request_digest: bytes
) -> tuple[str | None, bool]:
    """The answer of the same call if it was done before, and whether the user asked to cancel.

    The fence: raises AttemptSupersededError if the workspace is gone, and holds it otherwise.
    """
    # A batch is small: whatever the statistics say, each of its rows is looked up by an index.
    # Nobody waits for the disk: a crash that loses the batch takes the unlogged workspace with it,
    # and the commit of the version, which is durable, comes after it in the log.
    cursor.execute(
        "SELECT pg_current_xact_id(), set_config('enable_hashjoin', 'off', true),"
        " set_config('enable_mergejoin', 'off', true),"
        " set_config('synchronous_commit', 'off', true)"
    )
    workspaces.share_fate(cursor)
    cursor.execute(
        "SELECT t.cancel_requested FROM workspace w JOIN task t USING (task_id)"
        " WHERE w.workspace_id = %s FOR KEY SHARE OF w",
        (workspace_id,),
    )
    row = cursor.fetchone()
    if row is None:
        raise AttemptSupersededError("Another attempt owns the task now; stop.")
    cursor.execute(
        "INSERT INTO stage_call (workspace_id, sequence, request_digest) VALUES (%s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        (workspace_id, sequence, request_digest),
    )
    if cursor.rowcount:
        return None, row[0]
    cursor.execute(
        "SELECT request_digest, answer FROM stage_call WHERE workspace_id = %s AND sequence = %s",
        (workspace_id, sequence),
    )
    known_digest, answer = cursor.fetchone() or (b"", None)
    if bytes(known_digest) != request_digest:
        raise SequenceReusedError(
            f"Sequence {sequence} was used for another batch of this attempt."
        )
    return answer, row[0]


def end_call(
    cursor: Cursor, workspace_id: int, sequence: int, answer: str, content_ids: Sequence[int] = ()
) -> None:
    """Keeps the answer for the case that the call is repeated, and the units for the downloads."""
    cursor.execute(
        "UPDATE stage_call SET answer = %s, content_ids = %s::bigint[]"
        " WHERE workspace_id = %s AND sequence = %s",
        (answer, list(content_ids), workspace_id, sequence),
    )


def stage_known(
    cursor: Cursor,
    workspace_id: int,
    repository_id: int,
    content_ids: Iterable[int],
    *,
    removed: bool = False,
    cascade: bool = False,
) -> None:
    """Stages units that core has: what it is asked to add or remove by name, and copies."""
    ids = sorted(set(content_ids))
    if not removed:
        revive_content(cursor, ids)
    cursor.execute(
        _STAGE_ROWS,
        (workspace_id, repository_id, removed, False, cascade, ids, [True] * len(ids)),
    )


def revive_content(cursor: Cursor, content_ids: Sequence[int]) -> None:
    """Makes orphaned and condemned units live again, so that they can be named."""
    cursor.execute(
        "WITH orphaned AS (SELECT content_id FROM content WHERE content_id = ANY(%s::bigint[])"
        "  AND orphaned_at IS NOT NULL ORDER BY content_id FOR UPDATE)"
        " UPDATE content c SET condemned = false, orphaned_at = NULL FROM orphaned o"
        " WHERE c.content_id = o.content_id",
        (list(content_ids),),
    )


def _store(cursor: Cursor, units: Sequence[Unit]) -> tuple[list[int], set[int]]:
    """Numbers of the units, in order, and those numbers that are new."""
    if not units:
        return [], set()
    digests = [unit_digest(unit) for unit in units]
    copy_rows(
        cursor,
        "stage_unit",
        ("type_id", "key_digest", "unit_digest", "repo_key", "attributes", "filter"),
        (
            (u.type.type_id, u.key_digest, digest, u.repo_key, u.attributes, u.filter or None)
            for u, digest in zip(units, digests, strict=True)
        ),
    )
    cursor.execute(_REVIVE_STAGED)
    cursor.execute(_INSERT_CONTENT)
    created = {row[0] for row in cursor.fetchall()}
    # A statement of its own: the one before does not see rows that others have just committed.
    cursor.execute(_READ_IDS)
    known = {(row[0], bytes(row[1])): (row[2], bytes(row[3])) for row in cursor.fetchall()}
    ids: list[int] = []
    first: dict[int, Unit] = {}
    for unit, digest in zip(units, digests, strict=True):
        content_id, stored_digest = known[unit.type.type_id, unit.key_digest]
        ids.append(content_id)
        if digest != stored_digest and not (
            content_id not in created and same_unit(cursor, content_id, unit)
        ):
            raise ContentConflictError(
                f"The unit {unit.label} ({unit.name}) exists with other attributes or files.",
                metadata={"unit": unit.label, "name": unit.name},
            )
        first.setdefault(content_id, unit)
    _store_artifacts(cursor, first, created)
    _store_sources(cursor, first)
    _store_edges(cursor, {i: unit for i, unit in first.items() if i in created})
    return ids, created


def _store_artifacts(cursor: Cursor, units: dict[int, Unit], created: set[int]) -> None:
    copy_rows(
        cursor,
        "artifact",
        ("content_id", "relative_path", "digest", "size_bytes", "other_digests"),
        (
            (i, a.relative_path, a.sha256, a.size_bytes, a.other_digests or None)
            for i in sorted(created)
            for a in sorted(units[i].artifacts, key=lambda a: a.relative_path)
        ),
    )


def _store_sources(cursor: Cursor, units: dict[int, Unit]) -> None:
    rows = [
        (content_id, artifact.relative_path, source.remote_id, position, source.url)
        for content_id, unit in units.items()
        for artifact in unit.artifacts
        for position, source in enumerate(artifact.sources)
    ]
    if rows:
        columns = ("content_id", "relative_path", "remote_id", "position", "url")
        copy_rows(cursor, "stage_source", columns, rows)
        cursor.execute(_MERGE_SOURCES)


def _store_edges(cursor: Cursor, units: dict[int, Unit]) -> None:
    rows = {
        (content_id, int(edge.kind), edge.type_id, edge.key_digest)
        for content_id, unit in units.items()
        for edge in unit.edges
        if edge.scope == EdgeScope.GLOBAL
    }
    if rows:
        copy_rows(cursor, "stage_edge", ("source", "kind", "type_id", "key_digest"), rows)
        cursor.execute(_INSERT_EDGES)
    if units:
        cursor.execute(_RESOLVE_TO_NEW, (sorted(units),))
    _mark_edges(cursor, units.values())


def _mark_edges(cursor: Cursor, units: Iterable[Unit]) -> None:
    types = sorted({unit.type.type_id for unit in units if unit.edges})
    if types:
        cursor.execute(
            "UPDATE content_type SET has_edges = true"
            " WHERE type_id = ANY(%s::integer[]) AND NOT has_edges",
            (types,),
        )


def _removed_ids(cursor: Cursor, request: StageRequest) -> list[int]:
    if not request.removes:
        return []
    cursor.execute(
        "SELECT c.type_id, c.key_digest, c.content_id"
        " FROM unnest(%s::integer[], %s::bytea[]) AS u(type_id, key_digest)"
        " JOIN content c USING (type_id, key_digest)"
        " JOIN member m ON m.repository_id = %s AND m.content_id = c.content_id"
        "  AND m.removed_in = %s",
        (
            [u.type.type_id for u in request.removes],
            [u.key_digest for u in request.removes],
            request.repository_id,
            CURRENT,
        ),
    )
    found = {(row[0], bytes(row[1])): row[2] for row in cursor.fetchall()}
    for unit in request.removes:
        if (unit.type.type_id, unit.key_digest) not in found:
            raise UnitNotInRepositoryError(
                f"{unit.name} is not in the repository.", metadata={"unit": unit.name}
            )
    return list(found.values())


def _stage_rows(
    cursor: Cursor, request: StageRequest, ids: Sequence[int], removed: Sequence[int]
) -> None:
    explicit: dict[int, bool] = {}
    for content_id, unit in zip(ids, request.units, strict=True):
        explicit[content_id] = explicit.get(content_id, False) or not unit.implied
    added = sorted(explicit)
    cursor.execute(
        _STAGE_ROWS,
        (
            request.workspace_id,
            request.repository_id,
            False,
            True,
            False,
            added,
            [explicit[content_id] for content_id in added],
        ),
    )
    if removed:
        stage_known(
            cursor,
            request.workspace_id,
            request.repository_id,
            removed,
            removed=True,
            cascade=request.cascade,
        )
    edges = sorted(
        {
            (request.workspace_id, request.repository_id, i, int(e.kind), e.type_id, e.key_digest)
            for i, unit in zip(ids, request.units, strict=True)
            for e in unit.edges
            if e.scope == EdgeScope.VERSION
        }
    )
    if edges and request.repository_id:
        _mark_edges(cursor, request.units)
        cursor.execute(
            "INSERT INTO staged_edge"
            " (workspace_id, repository_id, source, kind, type_id, key_digest)"
            " SELECT %s, %s, * FROM"
            " unnest(%s::bigint[], %s::smallint[], %s::integer[], %s::bytea[])"
            " ON CONFLICT DO NOTHING",
            (
                request.workspace_id,
                request.repository_id,
                *(list(column) for column in list(zip(*edges, strict=True))[2:]),
            ),
        )


def _missing(cursor: Cursor, request: StageRequest) -> tuple[bytes, ...]:
    wanted = {
        artifact.sha256
        for unit in request.units
        for artifact in unit.artifacts
        if artifact.sha256 is not None and not artifact.sources
    }
    return tuple(possession.unusable(cursor, request.workspace_id, wanted)) if wanted else ()


_REVIVE_STAGED = """
WITH orphaned AS (
  SELECT c.content_id FROM content c JOIN stage_unit s USING (type_id, key_digest)
   WHERE c.orphaned_at IS NOT NULL ORDER BY c.content_id FOR UPDATE OF c)
UPDATE content c SET condemned = false, orphaned_at = NULL
  FROM orphaned o WHERE c.content_id = o.content_id
"""

_INSERT_CONTENT = """
INSERT INTO content (type_id, key_digest, unit_digest, repo_key, attributes, filter)
SELECT s.type_id, s.key_digest, s.unit_digest, s.repo_key, s.attributes, s.filter
  FROM stage_unit s
 WHERE NOT EXISTS (
   SELECT FROM content c WHERE c.type_id = s.type_id AND c.key_digest = s.key_digest)
 ORDER BY s.type_id, s.key_digest
    ON CONFLICT DO NOTHING
RETURNING content_id
"""

_READ_IDS = """
SELECT c.type_id, c.key_digest, c.content_id, c.unit_digest
  FROM stage_unit s JOIN content c USING (type_id, key_digest)
"""

_MERGE_SOURCES = """
INSERT INTO artifact_source AS known (content_id, relative_path, remote_id, position, url)
SELECT content_id, relative_path, remote_id, position, url
  FROM stage_source s
 WHERE NOT EXISTS (
   SELECT FROM artifact_source k
    WHERE k.content_id = s.content_id AND k.relative_path = s.relative_path
      AND k.remote_id = s.remote_id AND k.position = s.position AND k.url = s.url)
 ORDER BY content_id, relative_path, remote_id, position
    ON CONFLICT ON CONSTRAINT artifact_source_pkey
    DO UPDATE SET url = EXCLUDED.url WHERE known.url <> EXCLUDED.url
"""

_INSERT_EDGES = """
WITH resolved AS (
  SELECT s.source, s.kind, s.type_id, s.key_digest, c.content_id AS target
    FROM stage_edge s LEFT JOIN content c USING (type_id, key_digest)
), known AS (
  INSERT INTO edge (source, kind, target)
  SELECT source, kind, target FROM resolved WHERE target IS NOT NULL
   ORDER BY source, kind, target ON CONFLICT DO NOTHING
)
INSERT INTO unresolved_edge (source, kind, type_id, key_digest)
SELECT source, kind, type_id, key_digest FROM resolved WHERE target IS NULL
 ORDER BY source, kind, type_id, key_digest ON CONFLICT DO NOTHING
"""

# Relations that waited for these units; what others hold locked is resolved at their commit.
_RESOLVE_TO_NEW = """
WITH waiting AS (
  SELECT u.source, u.kind, u.type_id, u.key_digest, c.content_id AS target
    FROM content c JOIN unresolved_edge u USING (type_id, key_digest)
   WHERE c.content_id = ANY(%s::bigint[]) AND EXISTS (SELECT FROM unresolved_edge)
   ORDER BY u.source, u.kind, u.type_id, u.key_digest FOR UPDATE OF u SKIP LOCKED
), gone AS (
  DELETE FROM unresolved_edge u USING waiting w
   WHERE u.source = w.source AND u.kind = w.kind AND u.type_id = w.type_id
     AND u.key_digest = w.key_digest
)
INSERT INTO edge (source, kind, target)
SELECT source, kind, target FROM waiting ORDER BY source, kind, target ON CONFLICT DO NOTHING
"""

# What was said last holds; what was once asked for by name stays so.
_STAGE_ROWS = """
INSERT INTO staged AS known
       (workspace_id, repository_id, removed, has_scope, cascade, content_id, explicit)
SELECT %s, %s, %s, %s, %s, u.content_id, u.explicit
  FROM unnest(%s::bigint[], %s::boolean[]) AS u(content_id, explicit)
    ON CONFLICT ON CONSTRAINT staged_pkey DO UPDATE SET
       removed = EXCLUDED.removed,
       explicit = EXCLUDED.explicit OR (known.explicit AND NOT known.removed),
       has_scope = EXCLUDED.has_scope OR known.has_scope,
       cascade = EXCLUDED.cascade OR known.cascade
"""
