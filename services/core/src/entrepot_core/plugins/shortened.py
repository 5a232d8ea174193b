"""Which of core's ready-made work can be done the short way, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.plugin.v1 import describe_pb2
from entrepot_core.plugins import selection
from entrepot_core.plugins.units import parse_unit_name
from entrepot_core.store.small_change import MAX_UNITS, SmallChange

if TYPE_CHECKING:
    from entrepot_core.plugins.catalog import Catalog
    from entrepot_core.plugins.parameters import Parameters

__all__ = ["small_change"]

_TYPE = describe_pb2.TaskType


def small_change(catalog: Catalog, parameters: Parameters) -> SmallChange | None:
    """The change, if the parameters name one repository and a few units, and nothing else."""
    implementation = parameters.view.declared.implementation
    is_removal = implementation == _TYPE.IMPLEMENTATION_CORE_REMOVE
    if not is_removal and implementation != _TYPE.IMPLEMENTATION_CORE_ADD:
        return None
    choice = selection.read(parameters.message)
    repositories = []
    units: dict[tuple[str, bytes], None] = {}
    for reference in parameters.references:
        if reference.kind == describe_pb2.RESOURCE_KIND_REPOSITORY and reference.is_exclusive:
            repositories.append(reference.name)
        elif reference.kind == describe_pb2.RESOURCE_KIND_CONTENT:
            key = parse_unit_name(catalog, reference.name, reference.field)
            units[key.content_type, key.digest] = None
        else:
            return None
    if choice.filter or choice.is_all or len(repositories) != 1 or not 0 < len(units) <= MAX_UNITS:
        return None
    _, plugin, name = repositories[0].split("/")
    return SmallChange(plugin, name, list(units), is_removal)
