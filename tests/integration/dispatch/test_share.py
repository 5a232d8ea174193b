"""One plugin has most of what dispatchers can run, never all of it."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from core_under_test import Core, a_config, a_remote, a_repository, running_api, running_dispatch
from declarations import file_plugin
from entrepot.core.v1 import task_service_pb2, tasks_pb2
from entrepot.plugin.v1 import plugin_tasks_pb2
from entrepot.plugins.file.v1 import file_pb2
from fake_plugin import FakePlugin, completed
from polling import until

Task = task_service_pb2.Task
SLOTS = 8


@pytest.fixture
def plugin() -> Iterator[FakePlugin]:
    """A plugin that takes twice as many attempts as there are slots, and hangs."""
    plugin = FakePlugin(file_plugin(slots=2 * SLOTS)).start()

    def hangs(
        _request: plugin_tasks_pb2.ExecuteRequest, _context: grpc.ServicerContext
    ) -> Iterator[plugin_tasks_pb2.ExecuteResponse]:
        plugin.released.wait(60)
        yield completed()

    plugin.execute = hangs
    yield plugin
    plugin.stop()


@pytest.fixture
def core(core_dsn: str, tmp_path: Path, plugin: FakePlugin) -> Iterator[Core]:
    """A core with one dispatcher, the plugin, and repositories enough for all slots."""
    config = a_config(core_dsn, tmp_path, slots=SLOTS)
    with running_api(config) as core, running_dispatch(config):
        core.register(plugin)
        a_remote(core.database)
        for number in range(SLOTS):
            a_repository(core.database, f"r{number}")
        yield core


def test_a_plugin_that_hangs_leaves_a_slot(core: Core, plugin: FakePlugin) -> None:
    """With all it may run hanging, another's task starts; what waits for it is told why."""
    syncs = [
        core.create(file_pb2.Sync(repository=f"r{number}", remote="bar"))
        for number in range(SLOTS)
    ]
    until(lambda: len(plugin.executed) == SLOTS - 1, "all but one to run")

    other = core.create(tasks_pb2.CollectOrphans(), wait=30)
    last = core.read(syncs[-1].name)
    plugin.released.set()

    assert other.state == Task.STATE_COMPLETED
    (blocker,) = last.blocked_by
    assert blocker.cause == Task.Blocker.CAUSE_PLUGIN_FULL
    assert "runs 7 attempts, as many as one plugin may" in blocker.message
    ended = {core.read(sync.name, wait=30).state for sync in syncs}
    assert ended == {Task.STATE_COMPLETED}
