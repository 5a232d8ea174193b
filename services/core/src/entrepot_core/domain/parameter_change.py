"""What differs between two sets of parameters, field by field. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ParameterChange", "compare"]

_NOTHING = object()


@dataclass(frozen=True, slots=True)
class ParameterChange:
    """A field, and its values as JSON; "" where it has none."""

    field: str
    before: str
    after: str


def compare(before: object, after: object, field: str = "") -> Iterator[ParameterChange]:
    """The innermost fields in which two values of JSON differ, with paths such as "a.b[2].c"."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(name for name in after if name not in before)]:
            path = f"{field}.{name}" if field else name
            yield from compare(before.get(name, _NOTHING), after.get(name, _NOTHING), path)
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            yield from compare(_at(before, index), _at(after, index), f"{field}[{index}]")
    elif before != after:
        yield ParameterChange(field, _text(before), _text(after))


def _at(values: list[Any], index: int) -> object:
    return values[index] if index < len(values) else _NOTHING


def _text(value: object) -> str:
    return "" if value is _NOTHING else json.dumps(value, ensure_ascii=False)
