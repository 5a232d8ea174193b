"""Filters over the fields that content types declare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.descriptor import FieldDescriptor

from entrepot_core.domain import filter as tree
from entrepot_core.store.content import Condition
from entrepot_core.store.filters import compile_filter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from entrepot_core.domain.unit import ContentType
    from entrepot_core.plugins.catalog import Catalog
    from entrepot_core.plugins.descriptors import ContentTypeView

__all__ = ["condition_of", "conditions_of", "field_kinds"]


def field_kinds(catalog: Catalog, view: ContentTypeView) -> dict[str, str]:
    """The fields that a type's units are filtered by: "string", "number" or "boolean" each."""
    declaration = catalog.any_plugin(view.plugin)
    descriptor = None if declaration is None else declaration.descriptor(view.attributes_message)
    if descriptor is None:
        return {}
    fields = descriptor.fields_by_name
    return {
        name: _kind(fields[name])
        for name in view.filterable_fields
        if name in fields and not fields[name].is_repeated
    }


def condition_of(
    catalog: Catalog, view: ContentTypeView, content_type: ContentType, text: str
) -> Condition:
    """The units of one type that a filter matches. Raises QueryInvalidError."""
    sql, parameters = compile_filter(tree.parse(text), field_kinds(catalog, view))
    return Condition((content_type.type_id,), sql, parameters)


def conditions_of(
    catalog: Catalog,
    views: Sequence[ContentTypeView],
    types: Mapping[str, ContentType],
    text: str,
) -> list[Condition]:
    """The units of several types that a filter matches: of those types that have all its fields.

    Raises QueryInvalidError if no type has. `types` are the numbered ones by name; a type without
    a number has no units.
    """
    node = tree.parse(text)
    used = set() if node is None else {one.field for one in _comparisons(node)}
    able = [view for view in views if used <= set(field_kinds(catalog, view))]
    if not able:
        known = {name: kind for v in views for name, kind in field_kinds(catalog, v).items()}
        if node is not None:
            for one in _comparisons(node):
                if one.field not in known:
                    compile_filter(one, known)
            first = next(_comparisons(node))
            raise tree.query_error("no content type has all these fields.", first.position)
    conditions = []
    for view in able:
        sql, parameters = compile_filter(node, field_kinds(catalog, view))
        if view.name in types:
            conditions.append(Condition((types[view.name].type_id,), sql, parameters))
    return conditions


def _comparisons(node: tree.Node) -> Iterator[tree.Comparison]:
    if isinstance(node, tree.Comparison):
        yield node
    elif isinstance(node, tree.Not):
        yield from _comparisons(node.part)
    else:
        for part in node.parts:
            yield from _comparisons(part)


def _kind(field: FieldDescriptor) -> str:
    if field.enum_type is not None or field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return "string"
    return "boolean" if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL else "number"
