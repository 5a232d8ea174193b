"""Filters as conditions of SQL over the `filter` document of content: parameters only."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from entrepot_core.domain import filter as tree

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["compile_filter"]

_BOOLEANS = {"true": True, "false": False}
_EQUALITY = {"=", "!=", ":"}


def compile_filter(
    node: tree.Node | None, kinds: Mapping[str, str], alias: str = "c"
) -> tuple[str, dict[str, Any]]:
    """A condition on the content table of this alias, and its named parameters.

    `kinds` says of each field that may be used whether it is a "string", "number" or "boolean".
    Raises QueryInvalidError for any other field, and for a value that is not of its kind.
    """
    compiler = _Compiler(kinds, alias)
    return ("true" if node is None else compiler.condition(node)), compiler.parameters


class _Compiler:
    def __init__(self, kinds: Mapping[str, str], alias: str) -> None:
        self._kinds = kinds
        self._document = f"{alias}.filter"
        self.parameters: dict[str, Any] = {}

    def condition(self, node: tree.Node) -> str:
        if isinstance(node, tree.Not):
            return f"NOT {self.condition(node.part)}"
        if isinstance(node, tree.All):
            return f"({' AND '.join(map(self.condition, node.parts))})"
        if isinstance(node, tree.Any):
            return f"({' OR '.join(map(self.condition, node.parts))})"
        return self._comparison(node)

    def _comparison(self, node: tree.Comparison) -> str:
        kind = self._kinds.get(node.field)
        if kind is None:
            known = ", ".join(sorted(self._kinds)) or "none"
            raise tree.query_error(
                f"there is no field {node.field} to filter by. There are: {known}.",
                node.position,
            )
        field = self._parameter(node.field)
        if node.operator == ":" and node.text == "*" and not node.is_quoted:
            return f"coalesce({self._document} ? {field}, false)"
        if kind == "string":
            return self._string(node, field)
        if kind == "boolean" and node.operator not in _EQUALITY:
            raise tree.query_error(f"{node.field} is a boolean: use = or !=.", node.position)
        value: Any
        if kind == "boolean":
            value = _BOOLEANS.get(node.text.lower())
            if value is None:
                raise tree.query_error(f"{node.field} is true or false.", node.position)
        else:
            value = _number(node)
        cast = "boolean" if kind == "boolean" else "numeric"
        operator = "=" if node.operator in {":", "!="} else node.operator
        return self._signed(
            node,
            f"jsonb_typeof({self._document} -> {field}) = '{kind}' AND {self._document} -> {field}"
            f" {operator} to_jsonb({self._parameter(value)}::{cast})",
        )

    def _string(self, node: tree.Comparison, field: str) -> str:
        text = f'({self._document} ->> {field}) COLLATE "C"'
        value = f"{self._parameter(node.text)}::text"
        if node.operator == ":" or (node.any_before and node.any_after):
            condition = f"strpos({text}, {value}) > 0"
        elif node.any_after:
            condition = f"starts_with({text}, {value})"
        elif node.any_before:
            condition = f"right({text}, length({value})) = {value}"
        elif node.operator in _EQUALITY:
            condition = f"{text} = {value}"
        else:
            condition = f"{text} {node.operator} {value}"
        return self._signed(node, condition)

    @staticmethod
    def _signed(node: tree.Comparison, condition: str) -> str:
        # Two values, not three: what is absent equals nothing.
        sign = "NOT " if node.operator == "!=" else ""
        return f"{sign}coalesce({condition}, false)"

    def _parameter(self, value: object) -> str:
        name = f"filter_{len(self.parameters)}"
        self.parameters[name] = value
        return f"%({name})s"


def _number(node: tree.Comparison) -> Decimal:
    try:
        value = Decimal(node.text)
    except InvalidOperation:
        value = Decimal("NaN")
    if (
        not value.is_finite()
        or not math.isfinite(float(value))
        or node.any_before
        or node.any_after
    ):
        raise tree.query_error(f"{node.field} is a number.", node.position)
    return value
