"""Who does what core does itself: a line for each, and a file in `core_tasks`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.plugin.v1 import describe_pb2
from entrepot_core.dispatch.core_tasks.additions import Additions
from entrepot_core.dispatch.core_tasks.copies import Copies
from entrepot_core.dispatch.core_tasks.migrations import Migrations
from entrepot_core.dispatch.core_tasks.orphans import Orphans
from entrepot_core.dispatch.core_tasks.reclaims import Reclaims
from entrepot_core.dispatch.core_tasks.removals import Removals
from entrepot_core.dispatch.core_tasks.repairs import Repairs
from entrepot_core.dispatch.ready_made import ReadyMade

if TYPE_CHECKING:
    from entrepot_core.downloads.downloader import Downloader
    from entrepot_core.downloads.keeper import Keeper
    from entrepot_core.downloads.remote import Remotes
    from entrepot_core.plugins.registry import Registry
    from entrepot_core.store.database import Database

__all__ = ["ready_made"]

_TYPE = describe_pb2.TaskType


def ready_made(
    database: Database,
    keeper: Keeper,
    registry: Registry,
    downloader: Downloader,
    remotes: Remotes,
) -> ReadyMade:
    """All that core does itself. A task of its own is also declared in `plugins/builtin.py`."""
    return ReadyMade(
        {
            _TYPE.IMPLEMENTATION_CORE_ADD: Additions(database),
            _TYPE.IMPLEMENTATION_CORE_REMOVE: Removals(database, registry),
            _TYPE.IMPLEMENTATION_CORE_COPY: Copies(database, registry),
        },
        {
            "core/migrations": Migrations(database, keeper.store),
            "core/orphans": Orphans(database, keeper.store),
            "core/reclaims": Reclaims(database, keeper.store),
            "core/repairs": Repairs(keeper, downloader, remotes),
        },
    )
