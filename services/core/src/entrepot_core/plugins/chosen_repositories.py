"""Repositories that core's own tasks name only to choose what they look at, without a lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_core.domain.errors import ResourceNotFoundError
from entrepot_core.domain.names import full_name
from entrepot_core.store import repositories

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from entrepot_core.store.database import Database

__all__ = ["require"]

_FIELD = "repositories"


def require(database: Database, message: Message) -> None:
    """Raises FieldInvalidError or ResourceNotFoundError for one that is none.

    Afterwards their names are full in the message.
    """
    given = getattr(message, _FIELD) if _FIELD in message.DESCRIPTOR.fields_by_name else []
    if not given:
        return
    places = [f"{_FIELD}[{index}]" for index in range(len(given))]
    names = [full_name(one, _FIELD, field=place) for one, place in zip(given, places, strict=True)]
    with database.statements() as cursor:
        for name, place in zip(names, places, strict=True):
            if not repositories.exists(cursor, name):
                raise ResourceNotFoundError.of_name(name, place)
    given[:] = names
