"""Building tasks straight in the store, without plugins or servicers."""

import hashlib
import secrets
from collections.abc import Iterable

from entrepot_core.domain.names import new_id
from entrepot_core.store import queue, tasks
from entrepot_core.store.database import Cursor, Database


def a_plugin(cursor: Cursor, name: str = "test", *, max_running: int = 1000) -> None:
    """A plugin that serves."""
    cursor.execute(
        "INSERT INTO plugin (name, target, max_running, health)"
        " VALUES (%s, 'test', %s, 'serving')",
        (name, max_running),
    )


def a_dispatcher(database: Database) -> int:
    """The number of a dispatcher that nobody runs."""
    with database.transaction() as cursor:
        cursor.execute("INSERT INTO dispatcher (name, slots) VALUES ('test', 10000) RETURNING 1")
        cursor.execute("SELECT max(dispatcher_id) FROM dispatcher")
        row = cursor.fetchone()
    assert row is not None
    return int(row[0])


def a_task(
    cursor: Cursor,
    locks: dict[int, bool] | None = None,
    *,
    plugin: str = "test",
    task_type: str = "",
    is_repeatable: bool = True,
    priority: int = tasks.NORMAL,
    cloned_from: str | None = None,
) -> str:
    """The id of a new task with these locks, by number of resource: whether exclusive."""
    task_id = new_id()
    cursor.execute("SELECT resource_id, name FROM resource")
    names = dict(cursor.fetchall())
    tasks.create(
        cursor,
        tasks.NewTask(
            task_id=task_id,
            task_type=task_type or f"{plugin}/works",
            executor=plugin,
            principal="admin",
            parameters_type="test.Work",
            parameters=b"",
            locks={names[number]: exclusive for number, exclusive in (locks or {}).items()},
            is_repeatable=is_repeatable,
            is_dry_run=False,
            priority=priority,
            cloned_from=cloned_from,
        ),
    )
    return task_id


def resource_numbers(cursor: Cursor, names: Iterable[str]) -> dict[str, int]:
    """The numbers of resources, made where there are none."""
    wanted = list(names)
    cursor.execute(
        "INSERT INTO resource (name) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING", (wanted,)
    )
    cursor.execute(
        "SELECT name, resource_id FROM resource WHERE name = ANY(%s::text[])", (wanted,)
    )
    return dict(cursor.fetchall())


def claim(database: Database, dispatcher_id: int, most: int = 1) -> list[queue.Claimed]:
    """Claims, in a transaction of its own."""
    digests = [hashlib.sha256(secrets.token_bytes(8)).digest() for _ in range(most)]
    with database.transaction() as cursor:
        return queue.claim(cursor, dispatcher_id, digests)
