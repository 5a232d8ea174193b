"""What a commit is asked to do, and what it did."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entrepot_core.domain.errors import ServiceError

__all__ = ["CommitMode", "CommitRequest", "CommitResult", "Difference", "Gaps", "UnitLine"]


class CommitMode(enum.Enum):
    """How staged units become a version."""

    ADDITIVE = "additive"
    """New version = base + staged adds - staged removes."""
    REPLACE = "replace"
    """New version = staged adds and what they need."""


@dataclass(frozen=True, slots=True)
class Gaps:
    """Units that failed, in a task that keeps going: those that were staged are left out."""

    content_ids: tuple[int, ...]
    error: ServiceError
    """What the task fails with if nothing new is left."""


@dataclass(frozen=True, slots=True)
class CommitRequest:
    """The end of an attempt.

    Modes and states are by role; a role that is missing is additive and keeps no state.
    """

    workspace_id: int
    task_id: str
    modes: dict[str, CommitMode] = field(default_factory=dict)
    states: dict[str, bytes] = field(default_factory=dict)
    unchanged_reason: str = ""
    dry_run: bool = False
    # Core's own work names content that the user may use; a plugin's must show that it has the
    # bytes it names.
    is_ready_made: bool = False
    # The dry run whose plan is staged: with nothing that comes or leaves along, and no modes.
    plan: str | None = None
    gaps: Gaps | None = None


@dataclass(frozen=True, slots=True)
class UnitLine:
    """A unit in a list for people: its name, and its first path or its repository key."""

    unit: str
    path: str


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed, or would change, in one repository; as entrepot.core.v1.Difference."""

    repository: str
    base_version: int
    version: int
    changed: bool
    unchanged_reason: str = ""
    added: int = 0
    removed: int = 0
    replaced: int = 0
    fetch_files: int = 0
    fetch_bytes: int = 0
    fetch_unknown_files: int = 0
    added_units: tuple[UnitLine, ...] = ()
    removed_units: tuple[UnitLine, ...] = ()


@dataclass(frozen=True, slots=True)
class CommitResult:
    """What the commit did, and the name of the last resource it made ("" if none)."""

    differences: tuple[Difference, ...]
    created_resource: str
    changed: bool
