"""Numbers of content types: made when a unit of the type is first stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_core.domain.unit import ContentType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from entrepot_core.store.database import Cursor

__all__ = ["by_collection", "by_id", "by_name", "number"]

_SELECT = "SELECT type_id, plugin, name, collection FROM content_type "


def number(cursor: Cursor, wanted: Iterable[tuple[str, str, str]]) -> dict[str, ContentType]:
    """The content types with these (plugin, name, collection), by name; made if they are new."""
    types = sorted(set(wanted))
    if not types:
        return {}
    found = by_name(cursor, [name for _, name, _ in types])
    for plugin, name, collection in types:
        known = found.get(name)
        if known is None or known.collection != collection:
            # A plugin may give a collection another name; its units follow.
            cursor.execute(
                "INSERT INTO content_type (plugin, name, collection) VALUES (%s, %s, %s)"
                " ON CONFLICT ON CONSTRAINT content_type_name_uniq"
                " DO UPDATE SET collection = EXCLUDED.collection RETURNING type_id",
                (plugin, name, collection),
            )
            (type_id,) = cursor.fetchone() or (0,)
            found[name] = ContentType(type_id, plugin, name, collection)
    return found


def by_name(cursor: Cursor, names: Iterable[str]) -> dict[str, ContentType]:
    """Those of the types that have a number, by name."""
    cursor.execute(_SELECT + "WHERE name = ANY(%s::text[])", (list(names),))
    return {row[2]: ContentType(*row) for row in cursor.fetchall()}


def by_id(cursor: Cursor) -> dict[int, ContentType]:
    """All types that have a number, by number: there are as many as plugins declare."""
    cursor.execute(_SELECT)
    return {row[0]: ContentType(*row) for row in cursor.fetchall()}


def by_collection(cursor: Cursor, plugin: str, collection: str) -> ContentType | None:
    """The type whose units are named content/<plugin>/<collection>/…, or None."""
    cursor.execute(
        _SELECT + "WHERE plugin = %s AND collection = %s",
        (plugin, collection),
    )
    row = cursor.fetchone()
    return None if row is None else ContentType(*row)
