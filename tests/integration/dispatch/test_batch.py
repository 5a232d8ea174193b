"""Small changes that wait at the same time are made in one transaction, each for itself."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core_under_test import Core, a_config, a_repository, running_api, running_dispatch
from core_units import a_unit
from entrepot.core.v1 import task_service_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot_core.dispatch.attempt import Attempt, Stop
from entrepot_core.dispatch.batch import Batch
from entrepot_core.dispatch.claim import Claim, Following
from entrepot_core.dispatch.process import DispatchProcess
from entrepot_core.store import collector
from entrepot_core.store.engine_check import check_engine
from entrepot_rpc import failpoints
from fake_plugin import FakePlugin

Task = task_service_pb2.Task
NAMES = ("a", "b", "c", "d")


@pytest.fixture
def core(core_dsn: str, tmp_path: Path) -> Iterator[Core]:
    """A core without a dispatcher, and some repositories."""
    plugin = FakePlugin().start()
    with running_api(a_config(core_dsn, tmp_path)) as core:
        core.register(plugin)
        for name in NAMES:
            a_repository(core.database, name)
        yield core
        plugin.stop()
        assert list(check_engine(core.database)) == []


@pytest.fixture
def unit(core: Core) -> str:
    """A unit that some repository has: what none has must be revived first, the general way."""
    name = a_unit(core, "f")
    a_repository(core.database, "home")
    add = core.create(file_pb2.Add(repository="home", content=[name])).name
    with running_dispatch(core.config):
        assert ends(core, [add]) == [(Task.STATE_COMPLETED, 1)]
    # Who kept house may have noted that nobody has it while it was added, and must look again.
    collector.mark(core.database)
    return name


@pytest.fixture
def tasks(core: Core, unit: str) -> list[str]:
    """Tasks that add a unit to each of the repositories, and wait."""
    return [core.create(file_pb2.Add(repository=name, content=[unit])).name for name in NAMES]


def transactions(core: Core) -> int:
    """In how many transactions the versions were made that have units."""
    found = core.database.fetch(
        "SELECT count(DISTINCT v.xmin::text) FROM version v JOIN repository USING (repository_id)"
        " WHERE number > 0 AND name <> 'home'"
    )
    return int(found[0][0])


def versions(core: Core) -> list[tuple[str, int]]:
    """How many versions each repository has."""
    return core.database.fetch(
        "SELECT r.name, count(*)::int FROM version JOIN repository r USING (repository_id)"
        " WHERE number > 0 AND r.name <> 'home' GROUP BY 1 ORDER BY 1"
    )


def ends(core: Core, tasks: list[str]) -> list[tuple[int, int]]:
    """State and attempt of tasks that end."""
    return [(task.state, task.attempt) for task in (core.read(name, wait=30) for name in tasks)]


def test_changes_that_wait_together_are_made_together(core: Core, tasks: list[str]) -> None:
    """One transaction makes a version for each task, and each has all of its events."""
    with running_dispatch(core.config):
        assert ends(core, tasks) == [(Task.STATE_COMPLETED, 1)] * 4

    assert versions(core) == [(name, 1) for name in NAMES]
    assert transactions(core) == 1
    kinds = core.database.fetch(
        "SELECT array_agg(kind ORDER BY event_id) FROM event"
        " WHERE 'tasks/' || task_id = ANY(%s) GROUP BY task_id",
        (tasks,),
    )
    assert [row[0] for row in kinds] == [["created", "started", "completed"]] * 4


def _revoked(core: Core, unit: str) -> str:
    caller = core.called_by("ci")
    name = caller.create(file_pb2.Add(repository="c", content=[unit])).name
    core.revoke("ci")
    return name


def _conflicting(core: Core, unit: str) -> str:
    content = [unit, a_unit(core, "f/g")]
    return core.create(file_pb2.Add(repository="c", content=content)).name


@pytest.mark.parametrize("refused", [_revoked, _conflicting])
def test_one_that_is_refused_fails_alone(
    core: Core, unit: str, refused: Callable[[Core, str], str]
) -> None:
    """A task that is refused fails with its reason; those around it complete."""
    good = [core.create(file_pb2.Add(repository="a", content=[unit])).name]
    bad = refused(core, unit)
    good.append(core.create(file_pb2.Add(repository="d", content=[unit])).name)

    with running_dispatch(core.config):
        assert ends(core, good) == [(Task.STATE_COMPLETED, 1)] * 2
        assert ends(core, [bad]) == [(Task.STATE_FAILED, 1)]
    assert versions(core) == [("a", 1), ("d", 1)]


@pytest.mark.parametrize("name", ["commit.version_inserted", "commit.before_commit"])
def test_a_batch_that_breaks_is_made_one_by_one(
    core: Core, tasks: list[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a transaction that did not end nothing is left: each task makes its version once."""
    monkeypatch.setattr(failpoints, "_actions", {})
    failpoints.configure(f"{name}=raise*1@2" if "inserted" in name else f"{name}=raise*1")

    with running_dispatch(core.config):
        assert ends(core, tasks) == [(Task.STATE_COMPLETED, 1)] * 4
    assert versions(core) == [(one, 1) for one in NAMES]
    assert transactions(core) == 4


@pytest.fixture
def attempts(core: Core, tasks: list[str]) -> Iterator[list[Attempt]]:
    """Attempts of the tasks, which nobody runs yet."""
    assert len(tasks) == len(NAMES)
    process = DispatchProcess(core.config)
    process.registry.refresh()
    claim = Claim(1, len(NAMES))
    with core.database.transaction() as cursor:
        claim(cursor)
    tools = process.dispatcher._tools
    yield [Attempt(tools, one, claim.token_of(one), nothing()) for one in claim.claimed]
    process.dispatcher._listener.stop()
    process._downloader.close()
    process._clients.close()
    process.database.close()


def nothing() -> Following:
    """Claims nothing."""
    return Following(lambda: None)


def run(attempts: list[Attempt]) -> list[Attempt]:
    """Runs a batch; returns those that are left."""
    return Batch(attempts[0]._tools, attempts, nothing()).run()


def test_one_that_was_stopped_is_left(core: Core, attempts: list[Attempt]) -> None:
    """A task that is canceled before its batch begins ends canceled, the others complete."""
    core.cancel(f"tasks/{attempts[1].claimed.task_id}")
    attempts[1].stop(Stop.CANCELED)

    assert run(attempts) == [attempts[1]]
    attempts[1].run()

    states = [core.read(f"tasks/{one.claimed.task_id}").state for one in attempts]
    assert states == [
        Task.STATE_CANCELED if number == 1 else Task.STATE_COMPLETED for number in range(4)
    ]
    assert len(versions(core)) == 3


def test_one_that_was_taken_over_is_left(core: Core, attempts: list[Attempt]) -> None:
    """An attempt whose workspace is gone writes nothing; the others complete."""
    lost = attempts[2].claimed
    core.database.fetch("DELETE FROM workspace WHERE workspace_id = %s", (lost.workspace_id,))

    assert run(attempts) == [attempts[2]]
    attempts[2].run()

    assert len(versions(core)) == 3
    core.database.fetch("SELECT end_unowned_task(%s::uuid, 'canceled', NULL)", (lost.task_id,))
