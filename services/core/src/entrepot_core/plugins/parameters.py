"""Parameters of a task: decoded, bound to what they name, checked by the plugin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from entrepot.plugin.v1 import plugin_tasks_pb2
from entrepot.type.v1 import diagnostic_pb2
from entrepot_core.domain.errors import (
    Code,
    PluginContractViolationError,
    PluginUnavailableError,
    ServiceError,
    Violation,
)
from entrepot_core.plugins import binding, builtin, chosen_repositories, messages, selection
from entrepot_core.plugins.client import unavailable
from entrepot_core.plugins.descriptors import pack_bytes
from entrepot_rpc.declaration import type_name
from entrepot_rpc.errors import plugin_domain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf import any_pb2
    from google.protobuf.message import Message

    from entrepot_core.plugins.client import Clients
    from entrepot_core.plugins.descriptors import Declaration, TaskTypeView
    from entrepot_core.plugins.registry import Registry
    from entrepot_core.store.database import Database

__all__ = ["ParameterReader", "Parameters"]

log = structlog.get_logger()

_MAX_WARNINGS = 100


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a task was asked, ready to be stored."""

    view: TaskTypeView
    declaration: Declaration
    message: Message
    references: list[binding.Reference]
    warnings: tuple[diagnostic_pb2.Diagnostic, ...] = ()

    @property
    def data(self) -> bytes:
        return messages.serialize(self.message)

    def pack(self) -> any_pb2.Any:
        """The parameters as they are sent on, references in full."""
        return pack_bytes(self.view.parameters_message, self.data)


class ParameterReader:
    """Reads and checks parameters. A refusal names the field."""

    def __init__(self, database: Database, registry: Registry, clients: Clients) -> None:
        self._database = database
        self._registry = registry
        self._clients = clients

    def decode(self, packed: any_pb2.Any) -> Parameters:
        """The parameters in an Any: known fields, required ones set, names in full."""
        view = self._registry.task_type(type_name(packed.type_url))
        declaration = self._registry.plugin(view.plugin)
        message = declaration.unpack_strict(packed, view.parameters_message, "parameters")
        parameters = Parameters(view, declaration, message, binding.read(view, message))
        selection.check(self._registry.catalog(), view, message)
        return parameters

    def resolve(self, parameters: Parameters) -> list[binding.Bound]:
        """What the parameters name. Raises ResourceNotFoundError naming field and resource."""
        return self._resolve(parameters.references)

    def needs_plugin(self, view: TaskTypeView) -> bool:
        """Whether there is more to check than core can, or a plugin that is down is to refuse.

        Refused is better than left to wait for it.
        """
        if view.plugin == builtin.NAME or not view.declared.validated_by_core:
            return True
        return not (view.is_core_work or self._registry.is_serving(view.plugin))

    def require(self, parameters: Parameters) -> None:
        """As `resolve`, for what will not be locked: the rest is looked for under its locks."""
        self._resolve([one for one in parameters.references if not one.lock])

    def validate(self, parameters: Parameters, bounds: list[binding.Bound]) -> Parameters:
        """The parameters with the plugin's defaults and warnings.

        Raises the plugin's refusal, or PluginUnavailableError: better refused now than queued
        unchecked. Core's ready-made work needs no plugin and does without one that is down.
        """
        plugin = parameters.view.plugin
        if plugin == builtin.NAME:
            chosen_repositories.require(self._database, parameters.message)
            return parameters
        request = plugin_tasks_pb2.ValidateRequest(
            task_type=parameters.view.name,
            parameters=parameters.pack(),
            resources=binding.to_resources(parameters.declaration, bounds),
        )
        try:
            response = self._ask(plugin, request)
        except PluginUnavailableError:
            if parameters.view.is_core_work:
                return parameters
            raise
        _refuse_errors(plugin, response)
        return self._normalized(parameters, response)

    def _resolve(self, references: Sequence[binding.Reference]) -> list[binding.Bound]:
        if not references:
            return []
        with self._database.statements() as cursor:
            return binding.resolve(cursor, self._registry.catalog(), references)

    def _ask(
        self, plugin: str, request: plugin_tasks_pb2.ValidateRequest
    ) -> plugin_tasks_pb2.ValidateResponse:
        target = self._target(plugin)
        try:
            return self._clients.at(target).validate(plugin, request)
        except PluginUnavailableError:
            # What is known of its address may be old.
            self._registry.refresh()
            if self._target(plugin) == target:
                raise
            return self._clients.at(self._target(plugin)).validate(plugin, request)

    def _target(self, plugin: str) -> str:
        row = self._registry.find(plugin)
        if row is None:
            raise unavailable(plugin, "it is not registered any more")
        if row.health == "incompatible":
            raise unavailable(plugin, row.message)
        return row.target

    def _normalized(
        self, parameters: Parameters, response: plugin_tasks_pb2.ValidateResponse
    ) -> Parameters:
        warnings = tuple(
            one
            for one in response.diagnostics
            if one.severity == diagnostic_pb2.Diagnostic.SEVERITY_WARNING
        )[:_MAX_WARNINGS]
        message, references = parameters.message, parameters.references
        if response.normalized_parameters.type_url:
            try:
                message = parameters.declaration.unpack_strict(
                    response.normalized_parameters,
                    parameters.view.parameters_message,
                    "normalized_parameters",
                )
                references = binding.read(parameters.view, message)
            except ServiceError as error:
                raise PluginContractViolationError(
                    f"The plugin {parameters.view.plugin} filled in parameters that are wrong: "
                    f"{error.message}",
                    metadata={"plugin": parameters.view.plugin},
                ) from error
        if _named(references) != _named(parameters.references):
            raise PluginContractViolationError(
                f"The plugin {parameters.view.plugin} changed what the parameters name.",
                metadata={"plugin": parameters.view.plugin},
            )
        return Parameters(parameters.view, parameters.declaration, message, references, warnings)


def _named(references: list[binding.Reference]) -> list[tuple[str, str]]:
    return [(reference.field, reference.name) for reference in references]


def _refuse_errors(plugin: str, response: plugin_tasks_pb2.ValidateResponse) -> None:
    errors = [
        one
        for one in response.diagnostics
        if one.severity != diagnostic_pb2.Diagnostic.SEVERITY_WARNING
    ]
    if errors:
        raise ServiceError.of(
            Code.INVALID_ARGUMENT,
            errors[0].reason or "FIELD_INVALID",
            " ".join(
                f"{one.field}: {one.message}" if one.field else one.message for one in errors
            ),
            domain=plugin_domain(plugin),
            violations=tuple(
                Violation(one.field, one.message, one.reason or "FIELD_INVALID") for one in errors
            ),
        )
