"""Plugins that beat for ever and get nowhere: the operator says how long an attempt may take."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from acting_plugin import acting_plugin
from core_under_test import (
    Core,
    a_config,
    a_remote,
    a_repository,
    errors_of_core,
    running_api,
    running_dispatch,
)
from entrepot.core.v1 import plugin_service_pb2, task_service_pb2
from entrepot.plugin.v1 import plugin_tasks_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot_core.dispatch import execution
from entrepot_rpc.errors import ServiceError
from entrepot_rpc.status import from_status
from fake_plugin import FakePlugin

Plugin = plugin_service_pb2.Plugin
Task = task_service_pb2.Task
SYNC = file_pb2.Sync(repository="foo", remote="bar")


@pytest.fixture
def core(core_dsn: str, tmp_path: Path) -> Iterator[Core]:
    """A core with a dispatcher, a repository foo and a remote bar."""
    config = a_config(core_dsn, tmp_path / "home", heartbeat_timeout=1)
    with running_api(config) as core, running_dispatch(config):
        a_repository(core.database)
        a_remote(core.database)
        yield core


def register(core: Core, target: str, attempt_timeout: Duration | None = None) -> Plugin:
    """Registers a plugin."""
    request = plugin_service_pb2.CreatePluginRequest(
        plugin=Plugin(target=target, attempt_timeout=attempt_timeout)
    )
    with errors_of_core():
        return core.plugins.CreatePlugin(request, metadata=core.metadata, timeout=20).plugin


def update(core: Core, attempt_timeout: Duration | None = None) -> Plugin:
    """Changes what the operator says of the plugin."""
    plugin = Plugin(name="plugins/file", attempt_timeout=attempt_timeout)
    request = plugin_service_pb2.UpdatePluginRequest(plugin=plugin)
    with errors_of_core():
        return core.plugins.UpdatePlugin(request, metadata=core.metadata, timeout=20).plugin


def test_a_plugin_that_beats_for_ever(core: Core, tmp_path: Path) -> None:
    """A plugin whose work goes on without progress is ended after what the operator allows."""
    acts = tmp_path / "acts"
    with acting_plugin(core.address, acts, seconds=3600) as plugin:
        register(core, plugin.address, attempt_timeout=Duration(seconds=2))
        task = core.create(SYNC, wait=30)

    error = from_status(task.error)
    assert (task.state, task.attempt) == (Task.STATE_FAILED, 1)
    assert error.reason == "DEADLINE_EXCEEDED"
    assert "took longer than the 2 s that it may" in error.message
    assert "attempt_timeout of plugins/file" in error.message
    assert acts.read_text().count("\n") == 1
    assert core.database.fetch("SELECT 1 FROM lock_entry") == []


def test_a_plugin_that_keeps_no_time(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """Core ends the stream itself if the plugin does not, and what it asked for is a duration."""
    monkeypatch.setattr(execution, "_DEADLINE_SLACK_SECONDS", 0.2)
    plugin = FakePlugin().start()

    def beats(
        _request: plugin_tasks_pb2.ExecuteRequest, context: grpc.ServicerContext
    ) -> Iterator[plugin_tasks_pb2.ExecuteResponse]:
        while context.is_active():
            yield plugin_tasks_pb2.ExecuteResponse(heartbeat=plugin_tasks_pb2.Heartbeat())
            plugin.released.wait(0.1)

    plugin.execute = beats
    register(core, plugin.target, attempt_timeout=Duration(seconds=1))
    task = core.create(SYNC, wait=30)
    plugin.stop()

    error = from_status(task.error)
    assert (task.state, error.reason) == (Task.STATE_FAILED, "DEADLINE_EXCEEDED")
    assert "took longer than the 1 s that it may" in error.message
    assert plugin.executed[0].timeout.seconds == 1


def test_how_it_is_set(core: Core) -> None:
    """The limit is kept when others change, ends with zero, and nonsense is refused by name."""
    plugin = FakePlugin().start()
    assert not register(core, plugin.target).HasField("attempt_timeout")
    assert update(core, attempt_timeout=Duration(seconds=90)).attempt_timeout.seconds == 90
    assert update(core).attempt_timeout.seconds == 90
    assert not update(core, attempt_timeout=Duration()).HasField("attempt_timeout")
    for nonsense in (Duration(nanos=1), Duration(seconds=-5), Duration(seconds=10**9)):
        with pytest.raises(ServiceError, match=r"attempt_timeout: must be from 1 second"):
            update(core, attempt_timeout=nonsense)
    plugin.stop()
