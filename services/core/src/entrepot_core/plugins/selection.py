"""What the parameters of core's ready-made work select: units by name, by filter, or all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from entrepot.plugin.v1 import describe_pb2
from entrepot_core.domain.errors import FieldInvalidError
from entrepot_core.plugins.filtering import conditions_of
from entrepot_core.store import content_types

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from entrepot_core.plugins.catalog import Catalog
    from entrepot_core.plugins.descriptors import TaskTypeView
    from entrepot_core.store.content import Condition
    from entrepot_core.store.database import Cursor

__all__ = ["Choice", "check", "conditions", "read"]

_TYPE = describe_pb2.TaskType
_SELECTING = {_TYPE.IMPLEMENTATION_CORE_REMOVE, _TYPE.IMPLEMENTATION_CORE_COPY}


@dataclass(frozen=True, slots=True)
class Choice:
    """The fields that select; a task type need not have all of them."""

    has_content: bool
    filter: str
    is_all: bool
    cascade: bool


def read(message: Message) -> Choice:
    """The choice in parameters."""
    return Choice(
        has_content=bool(_value(message, "content", ())),
        filter=_value(message, "filter", ""),
        is_all=_value(message, "all", default=False),
        cascade=_value(message, "cascade", default=False),
    )


def check(catalog: Catalog, view: TaskTypeView, message: Message) -> None:
    """Raises FieldInvalidError for nothing or too much, QueryInvalidError for a bad filter."""
    if view.declared.implementation not in _SELECTING:
        return
    choice = read(message)
    if choice.is_all and (choice.has_content or choice.filter):
        raise FieldInvalidError.at("all", "cannot be combined with content or filter.")
    if not (choice.is_all or choice.has_content or choice.filter):
        raise FieldInvalidError.at("content", "is required, or filter, or all.")
    if choice.filter:
        conditions_of(catalog, _views(catalog, view), {}, choice.filter)


def conditions(
    cursor: Cursor, catalog: Catalog, view: TaskTypeView, choice: Choice
) -> list[Condition]:
    """The conditions of the filter; none if there is no filter."""
    if not choice.filter:
        return []
    views = _views(catalog, view)
    types = content_types.by_name(cursor, [one.name for one in views])
    return conditions_of(catalog, views, types, choice.filter)


def _views(catalog: Catalog, view: TaskTypeView) -> list[Any]:
    return [one for one in catalog.content_types() if one.plugin == view.plugin]


def _value(message: Message, name: str, default: Any) -> Any:  # noqa: ANN401  any field
    return getattr(message, name) if name in message.DESCRIPTOR.fields_by_name else default
