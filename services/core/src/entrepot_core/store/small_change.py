"""The short way to the next version: a few units that are added or removed by name.

It plans and writes in a statement each what `repository_commit` does in forty, for changes in
which nothing is out of the ordinary. What that is, `plan_small_change` of 0018_plans_that_last.sql
says; everything else, and every refusal, is left to the general way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from entrepot_core.domain import set_digest
from entrepot_core.domain.change import CommitResult, Difference
from entrepot_core.domain.names import version_name
from entrepot_rpc.failpoints import failpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from entrepot_core.store.database import Cursor

__all__ = ["MAX_UNITS", "WRITE", "Made", "Plan", "SmallChange", "commit", "made", "written"]

MAX_UNITS = 100
"""Up to so many units; above, the general way costs no more for each."""

WRITE = "write_small_change(%s, %s, %s, %s::bigint[], %s::bigint[], %s, %s, %s::uuid)"
"""The call that writes a version, with what `written` returns."""


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


class Plan(NamedTuple):
    """A row of plan_small_change: what the change does to the repository."""

    repository_id: int
    base: int
    number: int
    unit_count: int
    retain_versions: int
    is_served: bool
    set_state: bytes
    added: list[int]
    removed: list[int]
    replaced: int
    fetch_files: int
    fetch_bytes: int
    # Of each unit.
    types: list[str]
    key_digests: list[bytes]
    unit_digests: list[bytes]
    are_added: list[bool]

    @property
    def is_change(self) -> bool:
        """Whether there is another version to be written."""
        return bool(self.added or self.removed)


def commit(cursor: Cursor, task_id: str, change: SmallChange, workspace_id: int) -> Made | None:
    """Writes the next version for an attempt, or nothing if the content stays the same.

    None if it must be done the general way; nothing has been done then. The caller finishes the
    task in the same transaction.
    """
    cursor.execute(
        "SELECT * FROM plan_small_change(%s, %s, %s, %s::text[], %s::bytea[], %s)",
        (
            workspace_id,
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
    planned = Plan._make(row)
    failpoint("commit.workspace_locked")
    if planned.is_change:
        cursor.execute(f"SELECT {WRITE}", written(planned, task_id))
    failpoint("commit.version_inserted")
    return made(change, planned)


def written(planned: Plan, task_id: str) -> tuple[object, ...]:
    """What is written of a change, by a task."""
    state = set_digest.changed(
        bytes(planned.set_state),
        _elements(planned, is_added=True),
        _elements(planned, is_added=False),
    )
    return (
        planned.repository_id,
        planned.number,
        planned.unit_count + len(planned.added) - len(planned.removed),
        planned.added,
        planned.removed,
        state,
        set_digest.digest(state),
        task_id,
    )


def made(change: SmallChange, planned: Plan) -> Made:
    """What the change comes to."""
    return Made(_result(change, planned), planned.is_served, not planned.retain_versions)


def _result(change: SmallChange, planned: Plan) -> CommitResult:
    full_name = f"repositories/{change.plugin}/{change.repository}"
    changed = planned.is_change
    difference = Difference(
        repository=full_name,
        base_version=planned.base,
        version=planned.number if changed else planned.base,
        changed=changed,
        unchanged_reason="" if changed else "The repository is already as it was asked to be.",
        added=len(planned.added),
        removed=len(planned.removed),
        replaced=planned.replaced,
        fetch_files=planned.fetch_files,
        fetch_bytes=planned.fetch_bytes,
    )
    return CommitResult(
        differences=(difference,),
        created_resource=version_name(full_name, planned.number) if changed else "",
        changed=changed,
    )


def _elements(planned: Plan, *, is_added: bool) -> Iterator[bytes]:
    units = zip(
        planned.types,
        planned.key_digests,
        planned.unit_digests,
        planned.are_added,
        strict=True,
    )
    for name, key_digest, unit_digest, was_added in units:
        if was_added is is_added:
            yield set_digest.element(name, bytes(key_digest), bytes(unit_digest))
