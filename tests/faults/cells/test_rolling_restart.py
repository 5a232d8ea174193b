"""Dispatchers that are restarted one after the other, under load."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from core_under_test import Core, a_config, a_remote, a_repository, running_api
from declarations import file_plugin
from dispatch_program import dispatch_program
from entrepot.core.v1 import task_service_pb2
from entrepot.plugin.v1 import plugin_tasks_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot_core.store.engine_check import check_engine
from fake_plugin import FakePlugin, completed
from polling import until

Task = task_service_pb2.Task
EACH = 4


@pytest.fixture
def plugin() -> Iterator[FakePlugin]:
    """A plugin whose attempts go on until they are released."""
    plugin = FakePlugin(file_plugin(slots=8)).start()

    def execute(
        _request: plugin_tasks_pb2.ExecuteRequest, _context: object
    ) -> Iterator[plugin_tasks_pb2.ExecuteResponse]:
        yield plugin_tasks_pb2.ExecuteResponse(heartbeat=plugin_tasks_pb2.Heartbeat())
        plugin.released.wait(60)
        yield completed()

    plugin.execute = execute
    yield plugin
    plugin.stop()


@pytest.fixture
def core(core_dsn: str, tmp_path: Path, plugin: FakePlugin) -> Iterator[Core]:
    """An api with the plugin, repositories and a remote; nobody runs tasks."""
    with running_api(a_config(core_dsn, tmp_path)) as core:
        core.register(plugin)
        a_remote(core.database)
        for number in range(EACH):
            a_repository(core.database, f"r{number}")
        yield core
        assert list(check_engine(core.database)) == []


def create(core: Core) -> list[Task]:
    """Create a task for each repository."""
    return [
        core.create(file_pb2.Sync(repository=f"r{number}", remote="bar")) for number in range(EACH)
    ]


def busy(core: Core) -> set[int]:
    """The processes of the dispatchers that run attempts."""
    rows = core.database.fetch(
        "SELECT d.name FROM workspace JOIN dispatcher d USING (dispatcher_id)"
    )
    return {int(name.rpartition(":")[2]) for (name,) in rows}


def test_a_rolling_restart_loses_no_attempt(core: Core, plugin: FakePlugin) -> None:
    """Both dispatchers end while they work, and a new one goes on: no attempt is lost."""
    with ExitStack() as stack:
        old = [stack.enter_context(dispatch_program(core)) for _ in range(2)]
        tasks = create(core)
        until(lambda: len(plugin.executed) == EACH, "work to be under way", 60)
        first = next(one for one in old if one.pid in busy(core))
        other = next(one for one in old if one is not first)
        first.send_signal(signal.SIGTERM)
        tasks += create(core)
        plugin.released.set()
        assert first.wait(60) == 0

        for task in tasks:
            core.read(task.name, wait=60)
        plugin.released.clear()
        tasks += create(core)
        until(lambda: busy(core) == {other.pid}, "the other one to work", 60)
        stack.enter_context(dispatch_program(core))
        other.send_signal(signal.SIGTERM)
        tasks += create(core)
        plugin.released.set()
        assert other.wait(60) == 0
        ended = [core.read(task.name, wait=60) for task in tasks]

    assert {task.state for task in ended} == {Task.STATE_COMPLETED}
    assert {task.attempt for task in ended} == {1}
    assert core.database.fetch("SELECT count(*) FROM lost_attempt") == [(0,)]
    assert len(plugin.executed) == len(tasks)
