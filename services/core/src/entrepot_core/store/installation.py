"""The database itself: its version, and the settings that crash safety rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entrepot_core.store.database import Cursor

__all__ = ["problems", "server_version"]

_MUST_BE_ON = {
    "fsync": "after a power cut the database may be damaged beyond repair",
    "full_page_writes": "after a power cut the database may be damaged beyond repair",
    "synchronous_commit": "after a crash, tasks that were acknowledged may be gone",
    "data_checksums": "a disk that loses bits is not noticed",
}


def server_version(cursor: Cursor) -> str:
    """PostgreSQL's version."""
    cursor.execute("SHOW server_version")
    return str((cursor.fetchone() or ("",))[0])


def problems(cursor: Cursor) -> list[str]:
    """What is wrong with the server's settings, each in a sentence."""
    cursor.execute(
        "SELECT name, setting FROM pg_settings WHERE name = ANY(%s::text[]) ORDER BY name",
        (list(_MUST_BE_ON),),
    )
    return [
        f"PostgreSQL runs with {name} = {setting}: {_MUST_BE_ON[name]}."
        for name, setting in cursor.fetchall()
        if setting in {"off", "local"}
    ]
