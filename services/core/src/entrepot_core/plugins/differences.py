"""What a task has changed, as it is kept and told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.core.v1 import difference_pb2

if TYPE_CHECKING:
    from entrepot_core.domain.change import CommitResult, Difference

__all__ = ["encode"]


def encode(result: CommitResult) -> list[bytes]:
    """A serialised Difference for each repository of a commit."""
    return [_message(one).SerializeToString() for one in result.differences]


def _message(one: Difference) -> difference_pb2.Difference:
    return difference_pb2.Difference(
        repository=one.repository,
        base_version=one.base_version,
        version=one.version,
        changed=one.changed,
        unchanged_reason=one.unchanged_reason,
        added=one.added,
        removed=one.removed,
        replaced=one.replaced,
        fetch_files=one.fetch_files,
        fetch_bytes=one.fetch_bytes,
        fetch_unknown_files=one.fetch_unknown_files,
        added_units=[
            difference_pb2.Difference.UnitLine(unit=line.unit, path=line.path)
            for line in one.added_units
        ],
        removed_units=[
            difference_pb2.Difference.UnitLine(unit=line.unit, path=line.path)
            for line in one.removed_units
        ],
    )
