"""What core's own work does: adding, removing and copying units, collecting orphans."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.core.v1 import tasks_pb2
from entrepot.plugin.v1 import describe_pb2
from entrepot_core.dispatch.ready_made import ReadyMade
from entrepot_core.dispatch.verdict import Completion
from entrepot_core.plugins import selection
from entrepot_core.store import changes, collector, retry
from entrepot_core.store.changes import Selection
from entrepot_core.store.content import VersionRange

if TYPE_CHECKING:
    from collections.abc import Callable

    from entrepot.type.v1 import progress_pb2
    from entrepot_core.downloads.keeper import Keeper
    from entrepot_core.plugins.binding import Bound
    from entrepot_core.plugins.parameters import Parameters
    from entrepot_core.plugins.registry import Registry
    from entrepot_core.store.database import Cursor, Database
    from entrepot_core.store.queue import Claimed

__all__ = ["ready_made"]

_TYPE = describe_pb2.TaskType
_STAGED = Completion("", b"", {}, {}, "")
_GRACE_SECONDS = 24 * 3600.0


def ready_made(database: Database, keeper: Keeper, registry: Registry) -> ReadyMade:
    """All that core does itself."""
    work = _Work(database, keeper, registry)
    return ReadyMade(
        {
            _TYPE.IMPLEMENTATION_CORE_ADD: work.add,
            _TYPE.IMPLEMENTATION_CORE_REMOVE: work.remove,
            _TYPE.IMPLEMENTATION_CORE_COPY: work.copy,
        },
        {"core/orphans": work.collect_orphans},
    )


class _Work:
    def __init__(self, database: Database, keeper: Keeper, registry: Registry) -> None:
        self._database = database
        self._keeper = keeper
        self._registry = registry

    def add(
        self,
        claimed: Claimed,
        parameters: Parameters,
        bounds: list[Bound],
        *,
        is_dry_run: bool,
        report: Callable[[progress_pb2.Progress], None],
    ) -> Completion:
        _ = parameters, is_dry_run, report
        target = _version(bounds, "repository")

        def stage(cursor: Cursor) -> None:
            changes.stage_add(cursor, claimed.workspace_id, target.repository_id, _content(bounds))

        retry.run(self._database, stage)
        return _STAGED

    def remove(
        self,
        claimed: Claimed,
        parameters: Parameters,
        bounds: list[Bound],
        *,
        is_dry_run: bool,
        report: Callable[[progress_pb2.Progress], None],
    ) -> Completion:
        _ = is_dry_run, report
        choice = selection.read(parameters.message)

        def stage(cursor: Cursor) -> None:
            changes.stage_remove(
                cursor,
                claimed.workspace_id,
                _version(bounds, "repository"),
                self._selection(cursor, parameters, bounds),
                cascade=choice.cascade,
            )

        retry.run(self._database, stage)
        return _STAGED

    def copy(
        self,
        claimed: Claimed,
        parameters: Parameters,
        bounds: list[Bound],
        *,
        is_dry_run: bool,
        report: Callable[[progress_pb2.Progress], None],
    ) -> Completion:
        _ = is_dry_run, report

        def stage(cursor: Cursor) -> None:
            changes.stage_copy(
                cursor,
                claimed.workspace_id,
                _version(bounds, "source"),
                _version(bounds, "repository").repository_id,
                self._selection(cursor, parameters, bounds),
            )

        retry.run(self._database, stage)
        return _STAGED

    def collect_orphans(
        self,
        claimed: Claimed,
        parameters: Parameters,
        bounds: list[Bound],
        *,
        is_dry_run: bool,
        report: Callable[[progress_pb2.Progress], None],
    ) -> Completion:
        _ = claimed, bounds, report
        asked = tasks_pb2.CollectOrphans.FromString(parameters.data)
        grace = asked.grace.ToNanoseconds() / 1e9 if asked.HasField("grace") else _GRACE_SECONDS
        collected = collector.collect(
            self._database, self._keeper.store, grace, dry_run=is_dry_run
        )
        result = tasks_pb2.CollectOrphansResult(
            content_units=collected.content_units,
            blobs=collected.blobs,
            blob_bytes=collected.blob_bytes,
        )
        is_nothing = not (collected.content_units or collected.blobs)
        return Completion(
            result.DESCRIPTOR.full_name,
            result.SerializeToString(),
            {},
            {},
            "There were no orphans." if is_nothing else "",
        )

    def _selection(self, cursor: Cursor, parameters: Parameters, bounds: list[Bound]) -> Selection:
        choice = selection.read(parameters.message)
        return Selection(
            content_ids=_content(bounds),
            conditions=selection.conditions(
                cursor, self._registry.catalog(), parameters.view, choice
            ),
            is_all=choice.is_all,
        )


def _version(bounds: list[Bound], role: str) -> VersionRange:
    bound = next(one for one in bounds if one.reference.role == role)
    return VersionRange(bound.repository_id, bound.base_version)


def _content(bounds: list[Bound]) -> list[int]:
    return [bound.content_id for bound in bounds if bound.content_id]
