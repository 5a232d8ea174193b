"""Which files a sync is asked for: all, or those that failed in an earlier one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entrepot_sdk import Workspace

__all__ = ["Asked"]


@dataclass(frozen=True, slots=True)
class Asked:
    """The paths; none stand for all."""

    paths: frozenset[str]

    @classmethod
    def of(cls, workspace: Workspace) -> Asked:
        """What this task is asked for."""
        return cls(frozenset(gap.relative_path for gap in workspace.gaps))

    @property
    def is_all(self) -> bool:
        """Say whether nothing is left out."""
        return not self.paths

    def has(self, path: str) -> bool:
        """Say whether this file is among them."""
        return not self.paths or path in self.paths
