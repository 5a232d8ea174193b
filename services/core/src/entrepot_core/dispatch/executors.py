"""What core's own work does: adding, removing and copying units, collecting orphans."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.plugin.v1 import describe_pb2
from entrepot_core.dispatch.ready_made import ReadyMade

if TYPE_CHECKING:
    from entrepot_core.downloads.keeper import Keeper
    from entrepot_core.plugins.registry import Registry
    from entrepot_core.store.database import Database

__all__ = ["ready_made"]

_TYPE = describe_pb2.TaskType


def ready_made(database: Database, keeper: Keeper, registry: Registry) -> ReadyMade:
    """All that core does itself."""
    _ = database, keeper, registry
    return ReadyMade({}, {})
