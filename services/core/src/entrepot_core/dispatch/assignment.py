"""What somebody who does core's own work is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from entrepot_core.dispatch.verdict import STAGED, Completion
from entrepot_core.domain.errors import CanceledError
from entrepot_core.store.content import VersionRange
from entrepot_core.store.plan_items import PlanItems

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from entrepot.type.v1 import diagnostic_pb2, progress_pb2
    from entrepot_core.plugins.binding import Bound
    from entrepot_core.plugins.parameters import Parameters
    from entrepot_core.store.database import Database
    from entrepot_core.store.queue import Claimed

__all__ = ["STAGED", "Assignment", "Executor", "told"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One attempt at a task that core does itself."""

    claimed: Claimed
    parameters: Parameters
    bounds: list[Bound]
    is_dry_run: bool
    # The dry run of one of core's own tasks whose plan is to be carried out, and nothing besides.
    plan: str | None = None
    report: Callable[[progress_pb2.Progress], None]
    warn: Callable[[diagnostic_pb2.Diagnostic], None]
    is_stopped: Callable[[], bool]

    def items(self, database: Database) -> PlanItems | None:
        """Where a dry run notes what it found; None if it is none."""
        if not self.is_dry_run:
            return None
        return PlanItems(database, self.claimed.workspace_id, self.claimed.task_id)

    @property
    def content_ids(self) -> list[int]:
        """The units that the parameters name one by one."""
        return [bound.content_id for bound in self.bounds if bound.content_id]

    def version(self, role: str) -> VersionRange:
        """The version of the one repository in a role."""
        bound = next(one for one in self.bounds if one.reference.role == role)
        return VersionRange(bound.repository_id, bound.base_version)

    def check(self) -> None:
        """To be called between steps of long work: raises CanceledError once it is to stop."""
        if self.is_stopped():
            raise CanceledError("The attempt was told to stop.")


class Executor(Protocol):
    """Does one kind of core's own work: stages into the workspace, or acts and tells."""

    def __call__(self, assignment: Assignment) -> Completion:
        """What is to be committed."""


def told(result: Message, unchanged_reason: str = "") -> Completion:
    """What acted on no version, and tells its result."""
    return Completion(
        result.DESCRIPTOR.full_name,
        result.SerializeToString(deterministic=True),
        {},
        {},
        unchanged_reason,
    )
