"""Priorities, shares and limits against real PostgreSQL: who starts, when, and at what cost."""

import random
import secrets
import threading
import time

import pytest

from entrepot_core.domain.task import State
from entrepot_core.store import limits, queue, repositories, sweep, tasks
from entrepot_core.store.database import Cursor, Database
from entrepot_core.store.engine_check import check_engine
from queues import a_dispatcher, a_plugin, a_task, claim, resource_numbers


@pytest.fixture
def dispatcher(database: Database) -> int:
    """A dispatcher, and two plugins that serve."""
    with database.transaction() as cursor:
        a_plugin(cursor, "file")
        a_plugin(cursor, "rpm")
    return a_dispatcher(database)


def a_limit(database: Database, name: str, most: int, **what: str) -> limits.LimitRow:
    """A limit, with everything that waits in the right queue."""
    with database.transaction() as cursor:
        row = limits.create(cursor, {"name": name, "max_running": most, **what})
    after: str | None = None
    while True:
        with database.transaction() as cursor:
            after = limits.sort_waiting(cursor, after)
        if after is None:
            return row


def a_repository(cursor: Cursor, name: str, **labels: str) -> int:
    """The number to lock a repository of the plugin file with."""
    repositories.create(cursor, {"plugin": "file", "name": name, "labels": labels})
    full_name = f"repositories/file/{name}"
    return resource_numbers(cursor, [full_name])[full_name]


def finish(database: Database, claimed: queue.Claimed) -> None:
    """Completes an attempt."""
    with database.transaction() as cursor:
        queue.finish(
            cursor, claimed.workspace_id, claimed.task_id, queue.Outcome(state=State.COMPLETED)
        )


def ids(claimed: list[queue.Claimed]) -> list[str]:
    """The tasks of attempts."""
    return [one.task_id for one in claimed]


@pytest.mark.parametrize("task_type", ["file/syncs", "file"])
def test_no_more_of_a_type_run_than_its_limit(
    database: Database, dispatcher: int, task_type: str
) -> None:
    """Two of five syncs start; the others when those are over; other types do not wait."""
    a_limit(database, "syncs", 2, task_type=task_type)
    with database.transaction() as cursor:
        syncs = [a_task(cursor, plugin="file", task_type="file/syncs") for _ in range(5)]
        other = a_task(cursor, plugin="rpm", task_type="rpm/syncs")

    first = claim(database, dispatcher, 10)

    assert {*syncs[:2], other} == set(ids(first))
    assert claim(database, dispatcher, 10) == []
    finish(database, next(one for one in first if one.task_id == syncs[0]))
    assert syncs[2:3] == ids(claim(database, dispatcher, 10))


@pytest.mark.parametrize("label", [("web", True), (None, True), ("db", False)])
def test_a_limit_on_a_label_counts_who_locks_such_repositories(
    database: Database, dispatcher: int, label: tuple[str | None, bool]
) -> None:
    """One task at a time over all repositories with the label, of whatever type; others run."""
    value, holds = label
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO task_limit (name, label_key, label_value, max_running)"
            " VALUES ('team', 'team', %s, 1)",
            (value,),
        )
        web = [a_repository(cursor, name, team="web") for name in ("a", "b", "c")]
        plain = a_repository(cursor, "plain")
        labeled = [a_task(cursor, {one: True}, plugin="file") for one in web]
        free = a_task(cursor, {plain: True}, plugin="file")

    claimed = ids(claim(database, dispatcher, 10))

    assert ({labeled[0], free} if holds else {*labeled, free}) == set(claimed)


def test_of_several_limits_all_hold(database: Database, dispatcher: int) -> None:
    """A task under two limits starts when both have room, and hides nobody behind it."""
    a_limit(database, "syncs", 3, task_type="file/syncs")
    a_limit(database, "web", 1, label_key="team", label_value="web")
    with database.transaction() as cursor:
        web = [a_repository(cursor, f"web{n}", team="web") for n in range(3)]
        plain = [a_repository(cursor, f"plain{n}") for n in range(4)]
        both = [a_task(cursor, {one: True}, plugin="file", task_type="file/syncs") for one in web]
        one = [a_task(cursor, {one: True}, plugin="file", task_type="file/syncs") for one in plain]

    claimed = set(ids(claim(database, dispatcher, 10)))

    assert len(claimed) == 3
    assert len(claimed & set(both)) == 1
    assert len(claimed & set(one)) == 2


def test_a_new_limit_counts_what_runs_already(database: Database, dispatcher: int) -> None:
    """A limit below what runs lets nothing start, until enough has ended."""
    with database.transaction() as cursor:
        for _ in range(6):
            a_task(cursor, plugin="file", task_type="file/syncs")
    running = claim(database, dispatcher, 3)
    a_limit(database, "syncs", 2, task_type="file/syncs")

    started = []
    for one in running:
        finish(database, one)
        started.append(len(claim(database, dispatcher, 10)))

    assert started == [0, 1, 1]


def test_a_limit_that_nobody_sorted_for_holds_all_the_same(
    database: Database, dispatcher: int
) -> None:
    """The claim looks for itself: a task in the queue of no limit is held to the new one."""
    with database.transaction() as cursor:
        made = [a_task(cursor, plugin="file", task_type="file/syncs") for _ in range(30)]
        other = a_task(cursor, plugin="file", task_type="file/additions")
        limits.create(cursor, {"name": "syncs", "task_type": "file/syncs", "max_running": 1})

    claimed = ids(claim(database, dispatcher, 5))

    assert {made[0], other} == set(claimed)


def test_a_deleted_limit_holds_nobody(database: Database, dispatcher: int) -> None:
    """What stood before a limit starts when it is gone."""
    limit = a_limit(database, "syncs", 1, task_type="file/syncs")
    with database.transaction() as cursor:
        made = [a_task(cursor, plugin="file", task_type="file/syncs") for _ in range(4)]
    claim(database, dispatcher, 10)
    with database.transaction() as cursor:
        limits.delete(cursor, limit)

    assert made[1:] == ids(claim(database, dispatcher, 10))


def test_a_change_of_labels_changes_who_is_counted(database: Database, dispatcher: int) -> None:
    """A repository that loses the label does not wait any more; one that gets it is held."""
    a_limit(database, "web", 1, label_key="team", label_value="web")
    with database.transaction() as cursor:
        web = [a_repository(cursor, f"web{n}", team="web") for n in range(3)]
        late = a_repository(cursor, "late")
        made = [a_task(cursor, {one: True}, plugin="file") for one in (*web, late)]
    assert set(ids(claim(database, dispatcher, 1))) == {made[0]}
    with database.transaction() as cursor:
        repositories.update(cursor, "repositories/file/web1", {"labels": {}})
        limits.sort_repository(cursor, "repositories/file/web1")
        repositories.update(cursor, "repositories/file/late", {"labels": {"team": "web"}})

    assert ids(claim(database, dispatcher, 10)) == [made[1]]


def test_who_waits_for_a_limit_is_told(database: Database, dispatcher: int) -> None:
    """The limits that have no room for a task, and how many run, and nothing for others."""
    a_limit(database, "syncs", 1, task_type="file/syncs")
    a_limit(database, "roomy", 9, task_type="file")
    with database.transaction() as cursor:
        a_task(cursor, plugin="file", task_type="file/syncs")
        waiting = a_task(cursor, plugin="file", task_type="file/syncs")
        other = a_task(cursor, plugin="file", task_type="file/additions")
    claim(database, dispatcher, 1)

    with database.transaction() as cursor:
        assert [(one.name, one.running) for one in limits.full(cursor, waiting)] == [("syncs", 1)]
        assert limits.full(cursor, other) == []


def test_limits_hold_whatever_happens_at_once(database: Database, dispatcher: int) -> None:
    """Four dispatchers, and limits that come and go: never more than allowed, nobody is left."""
    a_limit(database, "syncs", 3, task_type="file/syncs")
    a_limit(database, "web", 2, label_key="team", label_value="web")
    with database.transaction() as cursor:
        resources = [
            a_repository(cursor, f"r{n}", **({"team": "web"} if n % 2 else {})) for n in range(12)
        ]
        for number in range(240):
            kind = random.choice(["syncs", "additions"])  # noqa: S311  not a secret
            a_task(
                cursor,
                {resources[number % 12]: number % 3 == 0},
                plugin="file",
                task_type=f"file/{kind}",
            )
    done = threading.Event()
    problems: list[BaseException] = []

    def work() -> None:
        number = a_dispatcher(database)
        while not done.is_set():
            for one in claim(database, number, random.choice([1, 4, 10])):  # noqa: S311  not a secret
                finish(database, one)

    def look() -> None:
        while not done.is_set():
            rows = database.fetch(
                "SELECT l.name, l.max_running, u.running FROM task_limit l"
                " JOIN limit_usage() u USING (task_limit_id)"
            )
            assert [row for row in rows if row[2] > row[1] and row[0] != "third"] == []

    def change() -> None:
        while not done.is_set():
            row = a_limit(database, "third", 1, task_type="file/additions")
            with database.transaction() as cursor:
                limits.delete(cursor, row)

    def guarded(role: object) -> None:
        try:
            role()  # type: ignore[operator]
        except BaseException as error:  # noqa: BLE001  shown by the test
            problems.append(error)
            done.set()

    threads = [
        threading.Thread(target=guarded, args=(role,)) for role in (*[work] * 4, look, change)
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not done.is_set():
        if database.fetch("SELECT count(*) FROM task WHERE ended_at IS NULL") == [(0,)]:
            break
        done.wait(0.05)
    done.set()
    for thread in threads:
        thread.join()

    assert problems == []
    assert database.fetch("SELECT count(*) FROM task WHERE ended_at IS NULL") == [(0,)]
    assert list(check_engine(database)) == []


def many(
    cursor: Cursor,
    count: int,
    *,
    limit: int | None = None,
    priority: int = tasks.NORMAL,
    lanes: int = 1,
) -> None:
    """Syncs of some repositories that have been ready for an hour, as `create_task` does."""
    cursor.execute(
        "WITH made AS (INSERT INTO task (task_id, plugin_id, task_type, lane, waits_for, seq,"
        " priority, class, limits, tag, ready_at, is_repeatable, is_dry_run)"
        " SELECT gen_random_uuid(), plugin_id, 'file/syncs', -1 - n %% %s, 0,"
        " nextval('lock_seq'), %s, %s,"
        " %s::int[], 1 + n / %s, now() - interval '1 hour', true, false"
        " FROM plugin, generate_series(1, %s) AS n WHERE name = 'file' RETURNING task_id)"
        " INSERT INTO task_detail (task_id, principal, parameters_type, parameters)"
        " SELECT task_id, 'admin', 'test.Work', '' FROM made",
        (lanes, priority, priority, [] if limit is None else [limit], lanes, count),
    )


def test_a_claim_looks_at_no_task_behind_a_full_limit(database: Database, dispatcher: int) -> None:
    """With 20,000 tasks before a full limit a claim reads as many pages as with 20."""
    limit = a_limit(database, "syncs", 1, task_type="file/syncs")
    pages = []
    for more in (20, 20_000):
        with database.transaction() as cursor:
            many(cursor, more, limit=limit.task_limit_id)
        database.fetch("ANALYZE task")
        with database.transaction() as cursor:
            for _ in range(3):
                a_task(cursor, plugin="file", task_type="file/additions")
        claim(database, dispatcher, 1)
        pages.append(pages_of_a_claim(database, dispatcher))

    assert pages[1] < 2 * pages[0] + 20


def pages_of_a_claim(database: Database, dispatcher: int) -> int:
    """How many pages a claim reads that finds one task."""
    with database.transaction() as cursor:
        cursor.execute(
            "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)"
            " SELECT * FROM claim_tasks(%s, 1, %s::bytea[])",
            (dispatcher, [secrets.token_bytes(8)]),
        )
        plan = (cursor.fetchone() or ([{}],))[0][0]["Plan"]
    assert plan["Actual Rows"] == 1
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def test_who_ages_competes_one_class_higher(database: Database, dispatcher: int) -> None:
    """A background task that has been ready for long goes before a new normal one's successors."""
    with database.transaction() as cursor:
        old = a_task(cursor, plugin="file", priority=tasks.BACKGROUND)
        cursor.execute("UPDATE task SET ready_at = ready_at - interval '11 minutes'")
    with database.transaction() as cursor:
        assert sweep.age(cursor, 600) == 1
        assert sweep.age(cursor, 600) == 0
        later = a_task(cursor, plugin="file")
        row = tasks.get(cursor, old)

    assert (row.priority, row.effective_priority) == (tasks.BACKGROUND, tasks.NORMAL)
    assert ids(claim(database, dispatcher) + claim(database, dispatcher)) == [old, later]


@pytest.mark.parametrize("priority", [tasks.INTERACTIVE, tasks.NORMAL, tasks.BACKGROUND])
def test_thousands_of_one_repository_delay_nobody(
    database: Database, dispatcher: int, priority: int
) -> None:
    """Behind 17,000 ready tasks of one repository, another's first is among the next five.

    So is another plugin's, in every class, and also when they have waited for long.
    """
    with database.transaction() as cursor:
        many(cursor, 17_000, priority=min(priority + 1, tasks.BACKGROUND))
        assert [sweep.age(cursor, 600), sweep.age(cursor, 600)] == [1, 0]
        mine, theirs = resource_numbers(cursor, ["mine", "theirs"]).values()
        made = [
            a_task(cursor, {mine: True}, plugin="file", priority=priority),
            a_task(cursor, {theirs: True}, plugin="rpm", priority=priority),
        ]

    order = [ids(claim(database, dispatcher))[0] for _ in range(5)]

    assert set(made) <= set(order)


def test_a_burst_over_many_repositories_is_passed_within_two_rounds(
    database: Database, dispatcher: int
) -> None:
    """Behind 10,000 tasks of 500 repositories, the first of another waits for two of each."""
    with database.transaction() as cursor:
        many(cursor, 10_000, lanes=500)
        (mine,) = resource_numbers(cursor, ["mine"]).values()
        made = a_task(cursor, {mine: True}, plugin="file")
        cursor.execute(
            "SELECT count(*) FROM task t JOIN task m USING (plugin_id, limits, class)"
            " WHERE m.task_id = %s::uuid AND t.state = 'waiting' AND t.waits_for = 0"
            " AND (t.tag, t.seq) < (m.tag, m.seq)",
            (made,),
        )
        (before,) = cursor.fetchone() or (0,)

    assert before <= 2 * 500


def test_one_plugin_leaves_room_for_others(database: Database, dispatcher: int) -> None:
    """Of 16 slots a plugin that could run thousands gets 14, with limits set and without."""
    with database.transaction() as cursor:
        cursor.execute("UPDATE dispatcher SET slots = 16")
        for _ in range(40):
            a_task(cursor, plugin="file")

    hogged = claim(database, dispatcher, 16)
    with database.transaction() as cursor:
        limits.create(cursor, {"name": "any", "max_running": 99, "task_type": "file"})
        other = a_task(cursor, plugin="rpm")

    assert len(hogged) == 14
    assert ids(claim(database, dispatcher, 2)) == [other]
