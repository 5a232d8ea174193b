"""Small changes that nothing is in the way of are over when their task has been made."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from core_under_test import Core, a_config, a_remote, a_repository, running_api, running_dispatch
from core_units import a_unit
from entrepot.core.v1 import limit_service_pb2, task_service_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot_core.domain import set_digest
from entrepot_core.store import queue
from entrepot_core.store.engine_check import check_engine
from entrepot_rpc import failpoints
from entrepot_rpc.errors import ServiceError
from fake_plugin import FakePlugin
from polling import until

Task = task_service_pb2.Task
DONE = (Task.STATE_COMPLETED, 1)


@pytest.fixture
def core(core_dsn: str, tmp_path: Path) -> Iterator[Core]:
    """A core without a dispatcher, and a repository."""
    plugin = FakePlugin().start()
    with running_api(a_config(core_dsn, tmp_path)) as core:
        core.register(plugin)
        a_repository(core.database)
        yield core
        plugin.stop()
        assert list(check_engine(core.database)) == []


@pytest.fixture
def unit(core: Core) -> str:
    """A unit that a repository has: what none has must be revived first, the general way."""
    return a_home_for(core, "f")


def a_home_for(core: Core, path: str) -> str:
    """A new unit, in a repository of its own."""
    name = a_unit(core, path)
    add = file_pb2.Add(repository=a_repository(core.database, f"home-of-{path}"), content=[name])
    with running_dispatch(core.config):
        assert core.create(add, wait=60).state == Task.STATE_COMPLETED
    # Housekeeping of that moment may have seen it in no repository.
    core.database.fetch("UPDATE content SET orphaned_at = NULL")
    return name


@contextmanager
def a_dispatcher_that_is_busy(core: Core) -> Iterator[None]:
    """A dispatcher is there, and never claims anything."""
    core.database.fetch("INSERT INTO dispatcher (name, slots, process) VALUES ('busy', 1, '')")
    try:
        yield
    finally:
        core.database.fetch("DELETE FROM dispatcher WHERE name = 'busy'")


def add(unit: str) -> file_pb2.Add:
    """Adds a unit to the repository."""
    return file_pb2.Add(repository="foo", content=[unit])


def kinds(core: Core, task: task_service_pb2.Task) -> list[str]:
    """Its events, in their order, numbered or not."""
    rows = core.database.fetch(
        "SELECT kind FROM (SELECT 0 AS part, event_id AS place, kind, task_id FROM event"
        " UNION ALL SELECT 1, event_inbox_id, kind, task_id FROM event_inbox) AS e"
        " WHERE 'tasks/' || task_id = %s ORDER BY part, place",
        (task.name,),
    )
    return [row[0] for row in rows]


def versions(core: Core) -> int:
    """The number of the newest version of the repository."""
    found = core.database.fetch("SELECT latest FROM repository WHERE name = 'foo'")
    return int(found[0][0])


def test_a_small_change_is_over_when_it_is_answered(core: Core, unit: str) -> None:
    """Nobody claims anything, and the task has its version, its attempt and its events."""
    with a_dispatcher_that_is_busy(core):
        added = core.create(add(unit))
        removed = core.create(file_pb2.Remove(repository="foo", content=[unit]))
        again = core.create(file_pb2.Remove(repository="foo", all=True), wait=0)

    assert [core.read(task.name) for task in (added, removed)] == [added, removed]
    assert (added.state, added.attempt) == (removed.state, removed.attempt) == DONE
    assert (added.created_resource, removed.created_resource) == (
        "repositories/file/foo/versions/1",
        "repositories/file/foo/versions/2",
    )
    assert added.start_time.ToDatetime() <= added.end_time.ToDatetime()
    assert (added.differences[0].added, removed.differences[0].removed) == (1, 1)
    assert kinds(core, added) == kinds(core, removed) == ["created", "started", "completed"]
    assert again.state == Task.STATE_WAITING
    core.cancel(again.name)
    assert core.database.fetch("SELECT FROM lock_entry") == []


def test_a_version_is_as_old_as_its_change(core: Core, unit: str) -> None:
    """One that had to wait for another is not dated before it."""
    with a_dispatcher_that_is_busy(core), ThreadPoolExecutor(1) as clients:
        core.create(add(unit))
        with core.database.transaction() as cursor:
            cursor.execute(
                "SELECT pg_advisory_xact_lock(resource_id) FROM resource"
                " WHERE name = 'repositories/file/foo'"
            )
            second = clients.submit(core.create, file_pb2.Remove(repository="foo", content=[unit]))
            until(lambda: _waiters(core, "advisory") == 1, "it to wait for the repository")
            cursor.execute("SELECT clock_timestamp()")
            ((released,),) = cursor.fetchall()
        task = second.result(60)

    ((made,),) = core.database.fetch(
        "SELECT v.created_at FROM version v JOIN repository r USING (repository_id)"
        " WHERE r.name = 'foo' AND v.number = 2"
    )
    assert released < made < task.end_time.ToDatetime(UTC)
    assert task.create_time == task.start_time


def test_what_changes_nothing_says_so(core: Core, unit: str) -> None:
    """A unit that is there already makes no version, and the task has the reason."""
    with a_dispatcher_that_is_busy(core):
        core.create(add(unit))
        again = core.create(add(unit))

    assert (again.state, again.changed, versions(core)) == (Task.STATE_COMPLETED, False, 1)
    assert "already" in again.differences[0].unchanged_reason


def test_changes_of_one_repository_at_the_same_time_are_made_one_after_the_other(
    core: Core, unit: str
) -> None:
    """Each of many clients has a version of its own, with its own unit."""
    units = [unit, *(a_home_for(core, f"f{number}") for number in range(3))]
    with a_dispatcher_that_is_busy(core), ThreadPoolExecutor(4) as clients:
        tasks = list(clients.map(lambda one: core.create(add(one)), units))

    assert [(task.state, task.attempt) for task in tasks] == [DONE] * 4
    made = sorted(int(task.created_resource.rpartition("/")[2]) for task in tasks)
    assert made == [1, 2, 3, 4]


def test_many_who_want_one_repository_keep_no_connection_from_others(
    core: Core, unit: str
) -> None:
    """More clients than there are connections wait for one repository; the rest goes on."""
    with a_dispatcher_that_is_busy(core), ThreadPoolExecutor(40) as clients:
        first = core.create(add(unit))
        with core.database.transaction() as cursor:
            cursor.execute(
                "SELECT pg_advisory_xact_lock(resource_id) FROM resource"
                " WHERE name = 'repositories/file/foo'"
            )
            waiting = [clients.submit(core.create, add(unit)) for _ in range(40)]
            until(lambda: _waiters(core, "advisory") == 1, "somebody to wait for the repository")
            until(lambda: _callers() >= 40, "all to be on their way")
            assert core.read(first.name).state == Task.STATE_COMPLETED
            until(lambda: core.database.connections()[1] > 20, "most connections to be free")
        assert {one.result(60).state for one in waiting} == {Task.STATE_COMPLETED}


def _waiters(core: Core, lock: str) -> int:
    """How many sessions wait for a lock of a kind."""
    found = core.database.fetch(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event = %s",
        (lock,),
    )
    return int(found[0][0])


def _callers() -> int:
    """How many threads create tasks."""
    return sum(thread.name.startswith("waiting") for thread in threading.enumerate())


@contextmanager
def _locked(core: Core) -> Iterator[None]:
    """Another task has the repository."""
    remote = a_remote(core.database)
    first = core.create(file_pb2.Sync(repository="foo", remote=remote))
    yield
    core.cancel(first.name)


@contextmanager
def _free(_core: Core) -> Iterator[None]:
    """Nothing is in the way."""
    yield


@contextmanager
def _limited(core: Core) -> Iterator[None]:
    """There is a limit of such tasks."""
    limit = limit_service_pb2.Limit(name="adds", task_type="file/adds", max_running=1)
    request = limit_service_pb2.CreateLimitRequest(limit=limit)
    core.limits.CreateLimit(request, metadata=core.metadata, timeout=60)
    yield


@pytest.mark.parametrize(
    ("around", "fields"),
    [
        pytest.param(_locked, {}, id="the repository is locked"),
        pytest.param(_limited, {}, id="there is a limit"),
        pytest.param(_free, {"dry_run": True}, id="it is a dry run"),
        pytest.param(_free, {"priority": Task.PRIORITY_BACKGROUND}, id="it has time"),
    ],
)
def test_what_has_to_wait_waits(
    core: Core,
    unit: str,
    around: Callable[[Core], AbstractContextManager[None]],
    fields: dict[str, Any],
) -> None:
    """Locks, limits, plans and priorities hold for what could be done at once as well."""
    with a_dispatcher_that_is_busy(core), around(core):
        task = core.create(add(unit), **fields)
        assert (task.state, task.attempt, versions(core)) == (Task.STATE_WAITING, 0, 0)
        core.cancel(task.name)


def test_nothing_happens_without_a_dispatcher(core: Core, unit: str) -> None:
    """Whoever has stopped all dispatchers has stopped all changes, until one is there again."""
    task = core.create(add(unit))
    assert task.state == Task.STATE_WAITING
    with running_dispatch(core.config):
        assert core.read(task.name, wait=60).state == Task.STATE_COMPLETED


def test_what_breaks_is_left_to_a_dispatcher(
    core: Core, unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a change that broke only its task is left, and a dispatcher makes the version once."""
    works, broken = set_digest.changed, [ValueError("Odd.")]

    def breaks_once(*state: Any) -> bytes:  # noqa: ANN401  as it is
        if broken:
            raise broken.pop()
        return works(*state)

    monkeypatch.setattr(set_digest, "changed", breaks_once)
    with a_dispatcher_that_is_busy(core):
        task = core.create(add(unit))
        assert (task.state, versions(core)) == (Task.STATE_WAITING, 0)
    with running_dispatch(core.config):
        ended = core.read(task.name, wait=60)

    assert (ended.state, ended.attempt, versions(core)) == (*DONE, 1)


@pytest.mark.parametrize(
    "name", ["commit.workspace_locked", "commit.version_inserted", "commit.before_commit"]
)
def test_what_is_interrupted_was_never_asked_for(
    core: Core, unit: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is told to try again, and there is neither a task nor a version."""
    monkeypatch.setattr(failpoints, "_actions", {})
    failpoints.configure(f"{name}=raise*1")
    before = core.database.fetch("SELECT count(*) FROM task")

    with a_dispatcher_that_is_busy(core):
        with pytest.raises(ServiceError, match="fired"):
            core.create(add(unit), request_id="once")
        assert (versions(core), core.database.fetch("SELECT count(*) FROM task")) == (0, before)
        assert core.create(add(unit), request_id="once").state == Task.STATE_COMPLETED


def _conflicting(core: Core, unit: str) -> Message:
    return file_pb2.Add(repository="foo", content=[unit, a_unit(core, "f/g")])


def test_what_is_refused_is_refused_by_its_task(core: Core, unit: str) -> None:
    """A change that would break the repository ends its task with the reason."""
    with running_dispatch(core.config):
        task = core.create(_conflicting(core, unit), wait=60)

    assert (task.state, versions(core)) == (Task.STATE_FAILED, 0)
    assert "f/g" in task.error.message


def test_versions_that_are_kept_no_longer_go(core: Core, unit: str) -> None:
    """A change that is made at once has old versions deleted as any other."""
    core.database.fetch("UPDATE repository SET retain_versions = 1 WHERE name = 'foo'")
    with a_dispatcher_that_is_busy(core):
        core.create(add(unit))
        core.create(file_pb2.Remove(repository="foo", content=[unit]))

    found = core.database.fetch(
        "SELECT v.number FROM version v JOIN repository r USING (repository_id)"
        " WHERE r.name = 'foo'"
    )
    assert found == [(2,)]


def test_a_request_that_is_sent_again_makes_one_version(core: Core, unit: str) -> None:
    """The second gets the task of the first, which is over."""
    with a_dispatcher_that_is_busy(core):
        first = core.create(add(unit), request_id="once")
        second = core.create(add(unit), request_id="once")

    assert (first.name, versions(core)) == (second.name, 1)


def test_a_request_under_way_elsewhere_is_waited_for(core: Core, unit: str) -> None:
    """Of two of one id at the same moment one makes a task, and the other hears of it."""
    a_repository(core.database, "bar")
    elsewhere = file_pb2.Add(repository="bar", content=[unit])
    with a_dispatcher_that_is_busy(core), ThreadPoolExecutor(1) as clients:
        with core.database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO creation_request (principal, request_id, digest, task_id)"
                " VALUES ('admin', 'once', 'another', gen_random_uuid())"
            )
            second = clients.submit(core.create, elsewhere, request_id="once")
            until(lambda: _waiters(core, "transactionid") == 1, "the second to meet the first")
        with pytest.raises(ServiceError, match="another request"):
            second.result(60)
    found = core.database.fetch("SELECT latest FROM repository WHERE name = 'bar'")
    assert found == [(0,)]


def test_a_dispatcher_that_comes_meanwhile_finds_nothing_to_do(core: Core, unit: str) -> None:
    """What is made at once is never ready for anybody."""
    with a_dispatcher_that_is_busy(core):
        core.create(add(unit))
        with core.database.transaction() as cursor:
            rows = core.database.fetch("SELECT dispatcher_id FROM dispatcher")
            assert queue.claim(cursor, rows[0][0], [b"x" * 32]) == []
