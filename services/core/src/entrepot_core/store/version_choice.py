"""Which version a path asks for: by its number, or the latest of a moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

from entrepot_core.domain.selector import parse_selector
from entrepot_core.store import serving, versions
from entrepot_core.store.intervals import CURRENT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from entrepot_core.store.database import Cursor, Database
    from entrepot_core.store.serving import Pointer
    from entrepot_core.store.versions import VersionRow

__all__ = ["Choice", "choose", "offered"]

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Choice:
    """A content set, or what is wrong with what was asked for."""

    content_set: str = ""
    made_at: datetime | None = None
    # Asked for by its number: no later answer is another.
    is_immutable: bool = False
    fault: str = ""
    is_gone: bool = False


def choose(cursor: Cursor, pointer: Pointer) -> Choice:
    """The version that the selector of a pointer asks for.

    A distribution of a fixed version or of a publication offers that one alone.
    """
    base_path, text = pointer.base_path, pointer.selector or ""
    wanted = parse_selector(text)
    if wanted is None:
        return Choice(
            fault=f'"{text}" is not a version: write a number, or a moment'
            " such as 2026-11-01 or 2026-11-01T00:00:00Z."
        )
    if pointer.repository_id is None or pointer.number is None:
        return Choice(fault=f"{base_path} serves nothing yet.")
    if not pointer.is_latest:
        if wanted != pointer.number:
            return Choice(fault=f"{base_path} serves version {pointer.number} alone.")
        return Choice(pointer.content_set, pointer.made_at, is_immutable=True)
    if isinstance(wanted, int):
        return _numbered(cursor, pointer, pointer.repository_id, wanted)
    return _of_moment(cursor, pointer, pointer.repository_id, wanted)


def offered(database: Database, distribution: str) -> Iterator[list[VersionRow]]:
    """The versions that a distribution lets browse, newest first, in batches."""
    below = CURRENT
    with database.transaction() as cursor:
        pointer = serving.find_named(cursor, distribution)
        if pointer is None or pointer.repository_id is None or pointer.number is None:
            return
        if not pointer.is_latest:
            row = versions.find(cursor, pointer.repository_id, pointer.number)
            yield [] if row is None else [row]
            return
    while True:
        with database.transaction() as cursor:
            rows = versions.page(cursor, pointer.repository_id, below, _PAGE)
        if rows:
            yield rows
            below = rows[-1].number
        if len(rows) < _PAGE:
            return


def _numbered(cursor: Cursor, pointer: Pointer, repository_id: int, number: int) -> Choice:
    row = versions.find(cursor, repository_id, number)
    if row is not None:
        name = serving.content_set(repository_id, number)
        return Choice(name, row.created_at, is_immutable=True)
    cursor.execute(
        "SELECT EXISTS (SELECT FROM deleted_version WHERE repository_id = %(repository)s"
        " AND number = %(number)s), min(number) FROM version WHERE repository_id = %(repository)s",
        {"repository": repository_id, "number": number},
    )
    is_gone, first = cursor.fetchone() or (False, 0)
    if is_gone:
        return Choice(fault=f"Version {number} of {pointer.base_path} was deleted.", is_gone=True)
    return Choice(
        fault=f"{pointer.base_path} has no version {number}; it has {first} to {pointer.number}."
    )


def _of_moment(cursor: Cursor, pointer: Pointer, repository_id: int, moment: datetime) -> Choice:
    cursor.execute(_OF_MOMENT, {"repository": repository_id, "moment": moment})
    number, made_at, is_gone, now, first, first_at = cursor.fetchone() or (None,) * 6
    if moment > now:
        return Choice(fault=f"{_shown(moment)} has not come: it is {_shown(now)}.")
    if number is None:
        return Choice(
            fault=f"{pointer.base_path} had no version at {_shown(moment)};"
            f" version {first} was made at {_shown(first_at)}."
        )
    if is_gone:
        return Choice(
            fault=f"Version {number} of {pointer.base_path}, the latest at {_shown(moment)},"
            " was deleted.",
            is_gone=True,
        )
    return Choice(serving.content_set(repository_id, number), made_at)


def _shown(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


# What was deleted by then was not the latest any more.
_OF_MOMENT = """
SELECT latest.number, latest.created_at, latest.is_gone, now(), first.number, first.created_at
  FROM (SELECT number, created_at FROM version WHERE repository_id = %(repository)s
         ORDER BY number LIMIT 1) first
  LEFT JOIN LATERAL (
    (SELECT number, created_at, false AS is_gone FROM version
      WHERE repository_id = %(repository)s AND created_at <= %(moment)s
      ORDER BY number DESC LIMIT 1)
     UNION ALL
    (SELECT number, created_at, true FROM deleted_version
      WHERE repository_id = %(repository)s AND created_at <= %(moment)s
        AND deleted_at > %(moment)s
      ORDER BY number DESC LIMIT 1)
    ORDER BY number DESC LIMIT 1) latest ON true
"""
