"""What this process knows of plugins, kept in step with PostgreSQL, where all processes meet."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog

from entrepot.plugin.v1 import describe_pb2
from entrepot_core.domain.errors import (
    DatabaseUnavailableError,
    PluginContractViolationError,
    PluginUnknownError,
    TaskTypeUnknownError,
)
from entrepot_core.plugins import builtin
from entrepot_core.plugins.catalog import Catalog
from entrepot_core.plugins.descriptors import Declaration
from entrepot_core.store import plugins

if TYPE_CHECKING:
    from collections.abc import Callable

    from entrepot_core.plugins.descriptors import TaskTypeView
    from entrepot_core.store.database import Database

__all__ = ["Registry"]

log = structlog.get_logger()

_MOST_PLUGINS = 10_000


class Registry:
    """The catalog of all declarations. Cheap to ask; `refresh` reads only what has changed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._core = Declaration(builtin.declaration())
        self._known: dict[int, Declaration] = {}
        self._catalog = Catalog([self._core])
        self._ids: dict[str, int] = {}
        self._rows: dict[str, plugins.PluginRow] = {}
        self._lock = threading.Lock()
        self._changed = threading.Condition()

    def catalog(self) -> Catalog:
        """The declarations as last read."""
        return self._catalog

    def declaration_id(self, plugin: str) -> int | None:
        """The number of a plugin's current declaration."""
        return self._ids.get(plugin)

    def find(self, plugin: str) -> plugins.PluginRow | None:
        """A registered plugin as last read: maybe half a second ago, `running` even longer."""
        return self._rows.get(plugin)

    def is_serving(self, plugin: str) -> bool:
        """Whether a plugin took tasks when last read."""
        row = self._rows.get(plugin)
        return row is not None and row.health == "serving"

    def task_type(self, parameters_message: str) -> TaskTypeView:
        """As `Catalog.task_type`; what is not known is looked for once more."""
        try:
            return self._catalog.task_type(parameters_message)
        except TaskTypeUnknownError:
            return self.refresh().task_type(parameters_message)

    def plugin(self, name: str) -> Declaration:
        """As `Catalog.plugin`; what is not known is looked for once more."""
        try:
            return self._catalog.plugin(name)
        except PluginUnknownError:
            return self.refresh().plugin(name)

    def refresh(self) -> Catalog:
        """Reads what other processes have changed, and returns the catalog."""
        with self._lock:
            with self._database.statements() as cursor:
                revision = plugins.revision(cursor)
                if revision == self._catalog.revision:
                    return self._catalog
                rows = plugins.declarations(cursor)
                registered = plugins.page(cursor, _MOST_PLUGINS)
            current = [self._core]
            removed: list[Declaration] = []
            ids: dict[str, int] = {}
            for row in rows:
                declaration = self._known.get(row.declaration_id) or _load(row)
                if declaration is None:
                    continue
                self._known[row.declaration_id] = declaration
                (removed if row.is_removed else current).append(declaration)
                ids[row.plugin] = row.declaration_id
            self._ids = ids
            self._rows = {row.name: row for row in registered}
            self._catalog = Catalog(current, removed, revision)
        with self._changed:
            self._changed.notify_all()
        return self._catalog

    def wait_for_change(
        self, revision: int, seconds: float, has_left: Callable[[], bool] = lambda: False
    ) -> Catalog:
        """The catalog as soon as it differs from that of `revision`, or after the time.

        Or when who waits has left, which is looked at after `wake`.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._catalog.revision != revision or has_left(), seconds
            )
        return self._catalog

    def wake(self) -> None:
        """Has everybody who waits look whether they still want to."""
        with self._changed:
            self._changed.notify_all()

    def follow(self, stop: threading.Event, every_seconds: float = 0.5) -> None:
        """Refreshes until stopped; the body of a thread."""
        while not stop.wait(every_seconds):
            try:
                self.refresh()
            except DatabaseUnavailableError as error:
                log.warning("registry.unreachable", error=error.message)


def _load(row: plugins.DeclarationRow) -> Declaration | None:
    try:
        return Declaration(describe_pb2.DescribeResponse.FromString(row.body))
    except PluginContractViolationError as error:
        # It was checked when it was stored; a newer protobuf may think otherwise.
        log.error("registry.declaration_unusable", plugin=row.plugin, error=error.message)  # noqa: TRY400
        return None
