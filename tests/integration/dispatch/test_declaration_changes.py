"""A plugin that declares something else while tasks wait: each runs, waits and says why, or fails.

None of them is forgotten, and none does what its locks do not cover.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from core_under_test import Core, a_config, a_remote, a_repository, running_api, running_dispatch
from declarations import file_plugin
from entrepot.core.v1 import task_service_pb2
from entrepot.plugin.v1 import describe_pb2, plugin_tasks_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot_core.plugins.client import Clients
from entrepot_core.plugins.describing import Describer
from entrepot_core.plugins.registry import Registry
from entrepot_core.store import plugins
from entrepot_core.store.engine_check import check_engine
from entrepot_rpc.status import from_status
from fake_plugin import FakePlugin, completed
from polling import until

Declaration = describe_pb2.DescribeResponse
Task = task_service_pb2.Task
SYNC = file_pb2.Sync(repository="foo", remote="bar")


@pytest.fixture
def plugin() -> Iterator[FakePlugin]:
    """A plugin that completes whatever it is given."""
    plugin = FakePlugin().start()
    yield plugin
    plugin.stop()


@pytest.fixture
def core(core_dsn: str, tmp_path: Path, plugin: FakePlugin) -> Iterator[Core]:
    """An api with the plugin, a repository foo and a remote bar; nobody runs tasks yet."""
    with running_api(a_config(core_dsn, tmp_path, slots=4)) as core:
        core.register(plugin)
        a_repository(core.database)
        a_remote(core.database)
        yield core
        plugin.released.set()
        assert list(check_engine(core.database)) == []


def replace(core: Core, plugin: FakePlugin, change: Callable[[Declaration], None]) -> None:
    """The plugin declares something else from now on, and core has asked it."""
    changed = file_plugin("0.2.0")
    change(changed)
    plugin.declaration = changed
    ask(core)


def ask(core: Core) -> None:
    """Ask the plugin what it is, as the poller does."""
    clients, registry = Clients(), Registry(core.database)
    registry.refresh()
    try:
        with core.database.transaction() as cursor:
            row = plugins.find(cursor, "file")
        assert row is not None
        Describer(core.database, clients, registry).poll(row)
    finally:
        clients.close()


def why(core: Core, task: Task) -> str:
    """Why a task is where it is, in words."""
    request = task_service_pb2.ExplainTaskRequest(task=task.name)
    answer = core.tasks.ExplainTask(request, metadata=core.metadata, timeout=20)
    return " ".join(answer.explanation.sentences)


def without_syncs(declaration: Declaration) -> None:
    """The task type is gone."""
    del declaration.task_types[0]


def renamed(declaration: Declaration) -> None:
    """A field of the parameters has another name."""
    field_of(declaration, "mirror").name = "mirrored"


def no_room(declaration: Declaration) -> None:
    """It takes no tasks at all, it says."""
    declaration.max_concurrent_attempts = 0


def field_of(declaration: Declaration, name: str) -> FieldDescriptorProto:
    """A field of the parameters of a sync."""
    files = [one for one in declaration.descriptors.file if one.package.endswith("file.v1")]
    (message,) = [one for one in files[0].message_type if one.name == "Sync"]
    (field,) = [one for one in message.field if one.name == name]
    return field


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without_syncs, "The task type file/syncs was removed."),
        (renamed, "was renamed to mirrored"),
        (no_room, "max_concurrent_attempts must be at least 1."),
    ],
)
def test_what_cannot_replace_keeps_tasks_waiting(
    core: Core, plugin: FakePlugin, change: Callable[[Declaration], None], reason: str
) -> None:
    """A declaration that cannot be used leaves tasks waiting, says why, and they run after it."""
    task = core.create(SYNC)
    replace(core, plugin, change)

    with running_dispatch(core.config):
        waiting = core.read(task.name, wait=0.5)
        told = why(core, task)
        blockers = [one.message for one in waiting.blocked_by]
        replace(core, plugin, lambda _: None)
        ended = core.read(task.name, wait=20)

    assert waiting.state == Task.STATE_WAITING
    assert reason in told
    assert reason in " ".join(blockers)
    assert ended.state == Task.STATE_COMPLETED, ended.error


def test_parameters_that_are_refused_now(core: Core, plugin: FakePlugin) -> None:
    """A task whose parameters the new plugin refuses fails with what that says of them."""
    task = core.create(SYNC)
    replace(core, plugin, lambda one: one.task_types[0].default_timeout.FromSeconds(60))
    plugin.validation.diagnostics.add(
        severity=1, reason="TOO_OLD", message="is not taken any more.", field="parameters.remote"
    )

    with running_dispatch(core.config):
        ended = core.read(task.name, wait=20)

    assert ended.state == Task.STATE_FAILED
    assert from_status(ended.error).reason == "TOO_OLD"
    assert plugin.executed == []


def test_a_lock_that_is_stronger_now(core: Core, plugin: FakePlugin) -> None:
    """A task is not run with a shared lock where its type now wants an exclusive one."""

    def exclusive(declaration: Declaration) -> None:
        options = field_of(declaration, "remote").options
        options.Extensions[describe_pb2.reference].access = describe_pb2.Reference.ACCESS_EXCLUSIVE

    task = core.create(SYNC)
    replace(core, plugin, exclusive)

    with running_dispatch(core.config):
        ended = core.read(task.name, wait=20)
        # The api hears of the change a moment later than the database has it.
        until(
            lambda: core.create(SYNC, wait=20).state == Task.STATE_COMPLETED,
            "a task with the lock of now",
        )

    error = from_status(ended.error)
    assert (ended.state, error.reason) == (Task.STATE_FAILED, "PLUGIN_INCOMPATIBLE")
    assert "remotes/file/bar alone" in error.message
    assert "Clone the task" in error.message
    assert len(plugin.executed) == 1


def test_a_type_that_must_not_be_repeated_any_more(core: Core, plugin: FakePlugin) -> None:
    """A task created as repeatable is not repeated if its type is not when it runs."""

    def breaks(
        _request: plugin_tasks_pb2.ExecuteRequest, context: grpc.ServicerContext
    ) -> Iterator[plugin_tasks_pb2.ExecuteResponse]:
        yield plugin_tasks_pb2.ExecuteResponse(heartbeat=plugin_tasks_pb2.Heartbeat())
        context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    plugin.execute = breaks
    task = core.create(SYNC)
    replace(core, plugin, lambda one: setattr(one.task_types[0], "repeatable", False))

    with running_dispatch(core.config):
        ended = core.read(task.name, wait=20)

    assert from_status(ended.error).reason == "OUTCOME_UNKNOWN"
    assert len(plugin.executed) == 1


def test_work_that_core_does_now(core: Core, plugin: FakePlugin) -> None:
    """A task that waits for a plugin is done by core if its type says so when it runs."""
    removes = plugin.declaration.task_types[2]
    removes.implementation = describe_pb2.TaskType.IMPLEMENTATION_PLUGIN
    ask(core)
    task = core.create(file_pb2.Remove(repository="foo", all=True))
    replace(core, plugin, lambda _: None)

    with running_dispatch(core.config):
        ended = core.read(task.name, wait=20)

    assert ended.state == Task.STATE_COMPLETED, ended.error
    assert plugin.executed == []


def test_an_answer_that_was_overtaken_is_not_believed(core: Core, plugin: FakePlugin) -> None:
    """What a plugin said before it was replaced comes late, and it is asked again."""
    is_said, may_come = threading.Event(), threading.Event()

    def held() -> None:
        plugin.described = lambda: None
        is_said.set()
        may_come.wait(30)

    plugin.described = held
    with ThreadPoolExecutor(1) as threads:
        late = threads.submit(ask, core)
        assert is_said.wait(30)
        replace(core, plugin, lambda one: setattr(one, "max_concurrent_attempts", 1))
        may_come.set()
        late.result(30)

    found = core.database.fetch("SELECT max_running, version FROM plugin WHERE name = 'file'")
    assert found == [(1, "0.2.0")]


def test_less_room_after_a_restart(core: Core, plugin: FakePlugin) -> None:
    """A plugin that comes back with room for one runs one at a time, and the others say so."""
    for number in range(3):
        a_repository(core.database, f"r{number}")

    def waits(
        _request: plugin_tasks_pb2.ExecuteRequest, _context: grpc.ServicerContext
    ) -> Iterator[plugin_tasks_pb2.ExecuteResponse]:
        yield plugin_tasks_pb2.ExecuteResponse(heartbeat=plugin_tasks_pb2.Heartbeat())
        plugin.released.wait(30)
        yield completed()

    plugin.execute = waits
    tasks = [
        core.create(file_pb2.Sync(repository=f"r{number}", remote="bar")) for number in range(3)
    ]
    replace(core, plugin, lambda one: setattr(one, "max_concurrent_attempts", 1))

    with running_dispatch(core.config):
        until(lambda: bool(plugin.executed), "the first to run")
        rows = core.database.fetch("SELECT * FROM plugin")
        states = [core.read(task.name).state for task in tasks]
        told = [why(core, task) for task in tasks]
        plugin.released.set()
        ended = [core.read(task.name, wait=20) for task in tasks]

    assert states.count(Task.STATE_RUNNING) == 1, (rows, told)
    full = "The plugin file runs 1 attempts, as many as it can."
    assert sum(full in one for one in told) == 2
    assert {one.state for one in ended} == {Task.STATE_COMPLETED}
