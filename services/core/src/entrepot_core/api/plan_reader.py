"""Plans as messages: what a dry run would change, and its units in pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.core.v1 import difference_pb2, plan_pb2, task_service_pb2
from entrepot.type.v1 import diagnostic_pb2
from entrepot_core.api.named_resource import next_token, read_position, timestamp
from entrepot_core.api.paging import page_size
from entrepot_core.domain.errors import FieldInvalidError, PlanMissingError
from entrepot_core.store import plans, tasks

if TYPE_CHECKING:
    from entrepot_core.store.database import Cursor
    from entrepot_core.store.plans import Move, PlannedUnit, PlanRow
    from entrepot_core.store.tasks import TaskRow

__all__ = ["of_dry_run", "read_plan", "read_units"]

_GONE = -1
_CHANGES = {
    plan_pb2.PlannedUnit.CHANGE_UNSPECIFIED: 0,
    plan_pb2.PlannedUnit.CHANGE_ADDITION: plans.ADDITION,
    plan_pb2.PlannedUnit.CHANGE_REPLACEMENT: plans.REPLACEMENT,
    plan_pb2.PlannedUnit.CHANGE_REMOVAL: plans.REMOVAL,
}
_CHANGE_VALUES = {number: value for value, number in _CHANGES.items()}


def of_dry_run(cursor: Cursor, task_id: str) -> tuple[TaskRow, PlanRow]:
    """A dry run and its plan.

    Raises ResourceNotFoundError, and PlanMissingError which says why there is no plan.
    """
    row = tasks.get(cursor, task_id)
    found = plans.find(cursor, task_id) if row.state == "completed" else None
    if found is None:
        raise PlanMissingError(_why_missing(row), metadata={"task": row.name})
    return row, found


def read_plan(cursor: Cursor, task_id: str) -> plan_pb2.Plan:
    """The plan of a dry run. Raises as `of_dry_run`."""
    row, found = of_dry_run(cursor, task_id)
    differences = [difference_pb2.Difference.FromString(one) for one in row.differences]
    replaced = sum(one.replaced for one in differences)
    counts, fetch_files, fetch_bytes = plans.count_items(cursor, task_id)
    return plan_pb2.Plan(
        task=row.name,
        differences=differences,
        additions=sum(one.added for one in differences) - replaced + counts.get(plans.ADDITION, 0),
        replacements=replaced + counts.get(plans.REPLACEMENT, 0),
        removals=sum(one.removed for one in differences) - replaced + counts.get(plans.REMOVAL, 0),
        fetch_files=sum(one.fetch_files for one in differences) + fetch_files,
        fetch_bytes=sum(one.fetch_bytes for one in differences) + fetch_bytes,
        fetch_unknown_files=sum(one.fetch_unknown_files for one in differences),
        warnings=[diagnostic_pb2.Diagnostic.FromString(one) for one in row.warnings],
        approved_by=f"tasks/{found.approved_by}" if found.approved_by else "",
        moves=[] if found.approved_by else map(_move, plans.moves(cursor, task_id)),
        create_time=timestamp(found.made_at),
        expire_time=timestamp(found.expires_at),
    )


def read_units(
    cursor: Cursor, task_id: str, request: task_service_pb2.ListPlannedUnitsRequest
) -> task_service_pb2.ListPlannedUnitsResponse:
    """A page of the units of a plan. Raises as `of_dry_run`, FieldInvalidError for the page."""
    size = page_size(request.page_size)
    if request.change not in _CHANGES:
        raise FieldInvalidError.at("change", "is no change of units.")
    after = read_position(request.page_token, (int, int, int)) or (0, 0, 0)
    row, _ = of_dry_run(cursor, task_id)
    page = plans.page_of_items if is_of_core(row) else plans.page
    found = page(cursor, task_id, _CHANGES[request.change], after, size + 1)
    return task_service_pb2.ListPlannedUnitsResponse(
        units=map(_unit, found[:size]),
        next_page_token=next_token(found[size - 1].position) if len(found) > size else "",
    )


def is_of_core(row: TaskRow) -> bool:
    """Whether it is one of core's own tasks, which are about blobs and change no repository."""
    return row.task_type.startswith("core/")


def _why_missing(row: TaskRow) -> str:
    if not row.is_dry_run:
        return f"{row.name} is no dry run, so it has no plan. Clone it with dry_run."
    if row.state in {"waiting", "running"}:
        return f"{row.name} is {row.state}: it has a plan once it is completed."
    if row.state != "completed":
        ended = "has failed" if row.state == "failed" else "was canceled"
        return f"{row.name} {ended}, so it has no plan."
    return f"The plan of {row.name} is not kept any more. Do the dry run again: clone it."


def _move(move: Move) -> plan_pb2.Plan.Move:
    return plan_pb2.Plan.Move(
        repository=move.repository,
        base_version=move.base,
        latest_version=_GONE if move.latest is None else move.latest,
        task=f"tasks/{move.task_id}" if move.task_id else "",
    )


def _unit(unit: PlannedUnit) -> plan_pb2.PlannedUnit:
    return plan_pb2.PlannedUnit(
        change=_CHANGE_VALUES[unit.change],
        repository=unit.repository,
        unit=unit.unit,
        path=unit.label,
        replaces=unit.replaces,
        files=unit.files,
        size_bytes=unit.size_bytes,
        fetch_files=unit.fetch_files,
        source_host=unit.source_host,
    )
