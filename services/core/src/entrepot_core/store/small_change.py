"""The short way to the next version: a few units that are added or removed by name.

It plans and writes in a statement each what `repository_commit` does in forty, for changes in
which nothing is out of the ordinary. What that is, `plan_small_change` of 0008_hot_attempt.sql
says; everything else, and every refusal, is left to the general way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from entrepot_core.domain import set_digest
from entrepot_core.domain.change import CommitResult, Difference
from entrepot_core.domain.names import version_name
from entrepot_rpc.failpoints import failpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from entrepot_core.domain.change import CommitRequest
    from entrepot_core.store.database import Cursor

__all__ = ["MAX_UNITS", "Made", "SmallChange", "commit"]

MAX_UNITS = 100
"""Up to so many units; above, the general way costs no more for each."""


@dataclass(frozen=True, slots=True)
class SmallChange:
    """Units, by content type and key digest, to be added to or removed from a repository."""

    plugin: str
    repository: str
    units: Sequence[tuple[str, bytes]]
    is_removal: bool


@dataclass(frozen=True, slots=True)
class Made:
    """What was done, whether the repository is served, and whether it keeps all versions."""

    result: CommitResult
    is_served: bool
    retains_all: bool


def commit(cursor: Cursor, request: CommitRequest, change: SmallChange) -> Made | None:
    """Writes the next version, or nothing if the content stays the same.

    None if it must be done the general way; nothing has been done then. The caller finishes the
    task in the same transaction.
    """
    cursor.execute(
        "SELECT * FROM plan_small_change(%s, %s, %s, %s::text[], %s::bytea[], %s)",
        (
            request.workspace_id,
            change.plugin,
            change.repository,
            [name for name, _ in change.units],
            [digest for _, digest in change.units],
            change.is_removal,
        ),
    )
    row = cursor.fetchone()
    if row is None:
        return None
    failpoint("commit.workspace_locked")
    repository_id, base, number, unit_count, retained, is_served, state, added, removed = row[:9]
    replaced, files, size, *units = row[9:]
    full_name = f"repositories/{change.plugin}/{change.repository}"
    changed = bool(added or removed)
    if changed:
        state = set_digest.changed(
            bytes(state), _elements(units, is_added=True), _elements(units, is_added=False)
        )
        cursor.execute(
            "SELECT write_small_change(%s, %s, %s, %s::bigint[], %s::bigint[], %s, %s, %s::uuid)",
            (
                repository_id,
                number,
                unit_count + len(added) - len(removed),
                added,
                removed,
                state,
                set_digest.digest(state),
                request.task_id,
            ),
        )
    failpoint("commit.version_inserted")
    difference = Difference(
        repository=full_name,
        base_version=base,
        version=number if changed else base,
        changed=changed,
        unchanged_reason=""
        if changed
        else request.unchanged_reason or "The repository is already as it was asked to be.",
        added=len(added),
        removed=len(removed),
        replaced=replaced,
        fetch_files=files,
        fetch_bytes=size,
    )
    result = CommitResult(
        differences=(difference,),
        created_resource=version_name(full_name, number) if changed else "",
        changed=changed,
    )
    return Made(result, is_served, retains_all=not retained)


def _elements(units: list[list[Any]], *, is_added: bool) -> Iterator[bytes]:
    for name, key_digest, unit_digest, was_added in zip(*units, strict=True):
        if was_added is is_added:
            yield set_digest.element(name, bytes(key_digest), bytes(unit_digest))
