"""Cell 4: events that are committed late are never missed by a reader that is ahead of them."""

import random
import threading
from pathlib import Path

from core_under_test import a_config, running_api
from entrepot.core.v1 import task_service_pb2
from entrepot_core.store.database import Database
from entrepot_core.store.numberer import Numberer

WRITERS = 8
EACH = 25
SEED = 4


def test_a_late_commit_is_read_all_the_same(database: Database) -> None:
    """An event that was written first and committed last comes after those a reader has."""
    numberer = Numberer(database)

    def note(cursor: object, number: int) -> None:
        cursor.execute(  # type: ignore[attr-defined]
            "INSERT INTO event_inbox (task_id, kind) VALUES (%s, 'progressed')",
            (f"00000000-0000-7000-8000-{number:012}",),
        )

    with database.transaction() as early:
        note(early, 10)
        with database.transaction() as late:
            note(late, 11)
        numberer.step()
        seen = database.fetch("SELECT event_id, task_id::text FROM event ORDER BY event_id")
        cursor = seen[-1][0]
    numberer.step()

    assert [task[-2:] for _, task in seen] == ["11"]
    after = database.fetch("SELECT task_id::text FROM event WHERE event_id > %s", (cursor,))
    assert [task[-2:] for (task,) in after] == ["10"]


def test_nothing_is_missed_whatever_the_order_of_commits(core_dsn: str, tmp_path: Path) -> None:
    """Transactions that last differently long, in any order: each event comes once, in order."""
    expected = {f"tasks/{number:08x}-0000-7000-8000-000000000000" for number in range(200)}
    with running_api(a_config(core_dsn, tmp_path)) as core:
        request = task_service_pb2.WatchEventsRequest(after_sequence=0)
        stream = core.tasks.WatchEvents(request, metadata=core.metadata, timeout=120)

        def write(first: int) -> None:
            dice = random.Random(SEED + first)  # noqa: S311, not a secret
            for number in range(first, first + EACH):
                with core.database.transaction() as cursor:
                    cursor.execute(
                        "INSERT INTO event_inbox (task_id, kind) VALUES (%s, 'progressed')",
                        (f"{number:08x}-0000-7000-8000-000000000000",),
                    )
                    # Others that begin later are committed earlier.
                    cursor.execute("SELECT pg_sleep(%s)", (dice.random() * 0.02,))

        writers = [
            threading.Thread(target=write, args=(one * EACH,), daemon=True)
            for one in range(WRITERS)
        ]
        for writer in writers:
            writer.start()
        numbers: list[int] = []
        tasks: list[str] = []
        while len(tasks) < len(expected):
            for event in next(stream).events:
                numbers.append(event.sequence)
                tasks.append(event.task)
        stream.cancel()
        for writer in writers:
            writer.join()

    assert numbers == list(range(numbers[0], numbers[0] + len(expected)))
    assert sorted(tasks) == sorted(expected)
