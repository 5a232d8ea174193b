"""Which blobs may be dropped because they can be fetched again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_core.store.blob_collection import Dispensable
from entrepot_core.store.blob_references import IS_NAMED_BESIDES_UNITS

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["reclaimable"]

_HAS_SOURCE = """EXISTS (SELECT FROM artifact_source s JOIN remote r USING (remote_id)
      WHERE s.content_id = a.content_id AND s.relative_path = a.relative_path{of})"""

_ANY = _HAS_SOURCE.format(of="")
_IMMEDIATE = _HAS_SOURCE.format(of=" AND r.policy = 'immediate'")

# Uploads, what was generated, and what an attempt holds are named besides. Every unit that has the
# file must be able to fetch it, and, unless that is asked for, no remote wants it to be here.
_CONDITION = f"""(
  EXISTS (SELECT FROM artifact a WHERE a.digest = b.digest)
  AND NOT EXISTS (SELECT FROM artifact a WHERE a.digest = b.digest
    AND NOT ({_ANY} AND (%(include_immediate)s OR NOT {_IMMEDIATE})))
  AND NOT {IS_NAMED_BESIDES_UNITS})"""

_CHOICE = """(b.created_at <= now() - make_interval(secs => %(seconds)s)
  AND (%(repositories)s::bigint[] = '{}' OR EXISTS (
    SELECT FROM artifact a JOIN member m USING (content_id)
     WHERE a.digest = b.digest AND m.repository_id = ANY(%(repositories)s::bigint[]))))"""


def reclaimable(
    repository_ids: Sequence[int], older_than_seconds: float, *, include_immediate: bool
) -> Dispensable:
    """Blobs of units that all have a source, stored for so long.

    Without repositories, those of all. Unless immediate ones are included, no source may be of a
    remote with the policy immediate.
    """
    return Dispensable(
        _CONDITION,
        _CHOICE,
        {
            "include_immediate": include_immediate,
            "repositories": list(repository_ids),
            "seconds": older_than_seconds,
        },
    )
