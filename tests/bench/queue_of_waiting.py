"""A queue of tasks that wait for one resource and will not get it."""

from contextlib import closing
from pathlib import Path

from entrepot_cli.postgres import EmbeddedPostgres
from entrepot_core.store.database import Cursor, connect
from polling import until

__all__ = ["let_wait"]

_AT_ONCE = 5_000
_STORE = """
WITH made AS MATERIALIZED (
  SELECT (submit_task(gen_random_uuid(), 'core', 'file/adds', 1, true, false, NULL,
          ARRAY['repositories/file/nobody'], ARRAY[true], '{}', 'admin', '', '')).task_id
    FROM generate_series(1, %s)
), detail AS (
  INSERT INTO task_detail (task_id, principal, parameters_type, parameters)
  SELECT task_id, 'admin', 'entrepot.plugins.file.v1.Add', '' FROM made
)
SELECT task_id FROM made
"""
# The first holds the resource, and is put off for longer than anything takes here.
_PARK = "UPDATE task SET parked = true, not_before = now() + interval '1 day' WHERE task_id = %s"


def let_wait(home: Path, count: int) -> None:
    """Have so many tasks wait for one lock, made in bulk straight in the database of a stack.

    Returns when they have waited for long: all have heard of them, the database has its statistics
    and no dead rows, and has written out what it had to.
    """
    with closing(connect(EmbeddedPostgres(home / "postgres").dsn)) as connection:
        connection.autocommit = False
        with connection.cursor() as cursor:
            cursor.execute(_STORE, (1,))
            cursor.execute(_PARK, cursor.fetchone())
            connection.commit()
            for _ in range(0, count, _AT_ONCE):
                cursor.execute(_STORE, (min(_AT_ONCE, count),))
                connection.commit()
            until(lambda: _is_told(cursor), "the events of all tasks", 300)
            connection.autocommit = True
            cursor.execute("VACUUM (ANALYZE)")
            cursor.execute("CHECKPOINT")


def _is_told(cursor: Cursor) -> bool:
    cursor.execute("SELECT FROM event_inbox LIMIT 1")
    cursor.connection.commit()
    return cursor.rowcount == 0
