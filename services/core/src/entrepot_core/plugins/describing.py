"""Asking a plugin what it is, and deciding whether to believe it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import structlog

from entrepot.plugin.v1 import describe_pb2
from entrepot_core.domain.errors import (
    PluginContractViolationError,
    PluginIncompatibleError,
    PluginUnavailableError,
    ServiceError,
)
from entrepot_core.plugins.compatibility import faults, incompatibilities
from entrepot_core.plugins.descriptors import Declaration
from entrepot_core.plugins.instances import capacity
from entrepot_core.store import plugins

if TYPE_CHECKING:
    from entrepot_core.plugins.client import Clients
    from entrepot_core.plugins.registry import Registry
    from entrepot_core.store.database import Database

__all__ = ["Describer"]

log = structlog.get_logger()

_SHOWN_FAULTS = 5


class Describer:
    """Calls Describe and records the answer, or that there was none."""

    def __init__(self, database: Database, clients: Clients, registry: Registry) -> None:
        self._database = database
        self._clients = clients
        self._registry = registry

    def ask(self, target: str, patience: float = 0) -> Declaration:
        """What the plugin at an address is. Raises ServiceError if it cannot be used.

        One that cannot be reached is tried again for `patience` seconds.
        """
        response = self._clients.at(target).describe(patience)
        declaration = Declaration(response)
        found = faults(declaration)
        if found:
            raise PluginContractViolationError(
                f"The declaration of the plugin {response.name} cannot be used: "
                f"{' '.join(found[:_SHOWN_FAULTS])}",
                metadata={"plugin": response.name},
            )
        return declaration

    def check_replacement(self, new: Declaration) -> None:
        """Raises PluginIncompatibleError if a declaration cannot replace the one there is."""
        old = self._registry.catalog().any_plugin(new.name)
        found = incompatibilities(old, new) if old is not None else []
        if found:
            raise PluginIncompatibleError(
                f"Version {new.response.version} of the plugin {new.name} cannot replace the one "
                f"there was: {' '.join(found[:_SHOWN_FAULTS])}",
                metadata={"plugin": new.name},
            )

    def record(
        self, declaration: Declaration, target: str, known: plugins.PluginRow | None = None
    ) -> bool:
        """Makes a checked declaration the plugin's current one; `target` is where it came from.

        False, and nothing is done, if another answer was recorded since `known` was read.
        """
        response = declaration.response
        max_running = capacity(target, response)
        with self._database.transaction() as cursor:
            declaration_id = plugins.put_declaration(
                cursor,
                declaration.name,
                _digest(response),
                response.SerializeToString(deterministic=True),
            )
            is_recorded = plugins.record(
                cursor,
                declaration.name,
                health="serving",
                message="",
                version=response.version,
                instance_id=response.instance_id,
                max_running=max_running,
                declaration_id=declaration_id,
                known=known,
            )
        self._registry.refresh()
        return is_recorded

    def record_incompatible(self, declaration: Declaration, error: ServiceError) -> None:
        """Notes that a plugin answers, and why its declaration is not used."""
        response = declaration.response
        with self._database.transaction() as cursor:
            plugins.record(
                cursor,
                declaration.name,
                health="incompatible",
                message=error.message,
                version=response.version,
                instance_id=response.instance_id,
            )
        self._registry.refresh()

    def poll(self, row: plugins.PluginRow) -> bool:
        """Asks a registered plugin again and records how it is; True if it serves.

        An answer that another has overtaken is not recorded: it is asked once more.
        """
        while (serves := self._poll(row)) is None:
            with self._database.statements() as cursor:
                found = plugins.find(cursor, row.name)
            if found is None:
                return False
            row = found
        return serves

    def _poll(self, row: plugins.PluginRow) -> bool | None:
        try:
            declaration = self.ask(row.target)
            if declaration.name != row.name:
                raise PluginIncompatibleError(
                    f"At {row.target} there is now the plugin {declaration.name}.",
                    metadata={"plugin": row.name},
                )
            self.check_replacement(declaration)
        except PluginUnavailableError as error:
            with self._database.transaction() as cursor:
                if plugins.mark_down(cursor, row.name, error.message):
                    log.warning("plugin.down", plugin=row.name, error=error.message)
            return False
        except ServiceError as error:
            with self._database.transaction() as cursor:
                is_recorded = plugins.record(
                    cursor,
                    row.name,
                    health="incompatible",
                    message=error.message,
                    version=row.version,
                    instance_id=row.instance_id,
                    known=row,
                )
            if not is_recorded:
                return None
            if row.message != error.message:
                log.warning("plugin.incompatible", plugin=row.name, error=error.message)
            return False
        if not self.record(declaration, row.target, row):
            return None
        if row.health != "serving":
            log.info("plugin.serving", plugin=row.name, version=declaration.response.version)
        return True


def _digest(response: describe_pb2.DescribeResponse) -> bytes:
    # Our own: a plugin's word for "nothing has changed" is not enough to keep old types.
    declared = describe_pb2.DescribeResponse()
    declared.CopyFrom(response)
    declared.ClearField("version")
    declared.ClearField("instance_id")
    declared.ClearField("declaration_digest")
    return hashlib.sha256(declared.SerializeToString(deterministic=True)).digest()
