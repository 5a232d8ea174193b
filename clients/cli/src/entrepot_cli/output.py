"""What goes to stdout: tables for people, JSON for scripts, names for pipes."""

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from entrepot_cli.server.name import short_name

Json = dict[str, Any]

# Widths of columns come from so many rows, so that a long list need not be held.
MEASURED_ROWS = 200


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its title and how a cell is made from an object."""

    title: str
    cell: Callable[[Json], object]


def column(title: str, field: str) -> Column:
    """A column that shows a field."""
    return Column(title, lambda item: item.get(field, ""))


class Output:
    """Writes objects in the form that was asked for."""

    def __init__(self, options: Namespace) -> None:
        self.form = "name" if options.quiet else options.output

    def items(self, items: Iterable[Json], columns: list[Column]) -> None:
        """Write a list."""
        match self.form:
            case "json":
                print(json.dumps(list(items), indent=2, ensure_ascii=False))
            case "jsonl":
                for item in items:
                    print(json.dumps(item, ensure_ascii=False))
            case "name":
                for item in items:
                    print(name_of(item))
            case _:
                _table(iter(items), columns)

    def item(self, item: Json) -> None:
        """Write one object."""
        match self.form:
            case "json":
                print(json.dumps(item, indent=2, ensure_ascii=False))
            case "jsonl":
                print(json.dumps(item, ensure_ascii=False))
            case "name":
                print(name_of(item))
            case _:
                _fields(item)


def name_of(item: Json) -> str:
    """The name people type for an object."""
    return short_name(str(item.get("name") or item.get("key") or item.get("client") or ""))


def size(count: int) -> str:
    """A number of bytes for people, in binary units."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":  # noqa: PLR2004, what makes units binary
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError


def moment(text: object) -> str:
    """A time for people: to the second, in the time zone of this machine."""
    from datetime import datetime

    if not text:
        return ""
    return datetime.fromisoformat(str(text)).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _table(items: Iterator[Json], columns: list[Column]) -> None:
    rows = ([_cell(column.cell(item)) for column in columns] for item in items)
    first = list(islice(rows, MEASURED_ROWS))
    titles = [column.title for column in columns]
    widths = [max(map(len, cells)) for cells in zip(titles, *first, strict=True)]
    if not first:
        print("none", file=sys.stderr)
        return
    for row in chain([titles], first, rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _fields(item: Json) -> None:
    shown = {key: _cell(value) for key, value in item.items() if value not in ("", [], {}, None)}
    width = max(map(len, shown), default=0)
    for key, value in shown.items():
        print(f"{key.ljust(width)}  {value}")


def _cell(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case str():
            return value
        case dict() if all(isinstance(one, str | int) for one in value.values()):
            return ", ".join(f"{key}={_cell(one)}" for key, one in value.items())
        case list() if all(isinstance(one, str | int) for one in value):
            return ", ".join(map(str, value))
        case dict() | list():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)
