"""Attempts with a real dispatcher and a scripted plugin, also one that breaks the contract."""

import threading
from collections.abc import Iterator
from errno import ENOMEM
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from core_under_test import (
    Core,
    a_config,
    a_remote,
    a_repository,
    pack,
    running_api,
    running_dispatch,
)
from entrepot.core.v1 import task_service_pb2
from entrepot.plugin.v1 import plugin_tasks_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot.type.v1 import diagnostic_pb2, progress_pb2
from entrepot_core.dispatch.attempt import Attempt
from entrepot_rpc.status import from_status
from fake_plugin import FakePlugin, completed

Task = task_service_pb2.Task
Events = Iterator[plugin_tasks_pb2.ExecuteResponse]
SYNC = file_pb2.Sync(repository="foo", remote="bar")


@pytest.fixture
def plugin() -> Iterator[FakePlugin]:
    """A plugin that completes whatever it is given."""
    plugin = FakePlugin().start()
    yield plugin
    plugin.stop()


@pytest.fixture
def heartbeat_timeout() -> float:
    """How long a plugin may be silent: longer than any machine is busy."""
    return 60


@pytest.fixture
def core(
    core_dsn: str, tmp_path: Path, plugin: FakePlugin, heartbeat_timeout: float
) -> Iterator[Core]:
    """A core with a dispatcher, the plugin, a repository foo and a remote bar."""
    config = a_config(core_dsn, tmp_path, heartbeat_timeout=heartbeat_timeout)
    with running_api(config) as core, running_dispatch(config):
        core.register(plugin)
        a_repository(core.database)
        a_remote(core.database)
        yield core
        plugin.released.set()


def reason(task: Task) -> str:
    """Why a task failed."""
    return from_status(task.error).reason


def test_a_task_completes(core: Core, plugin: FakePlugin) -> None:
    """A task is run once, with its parameters and resources in full, and completes."""
    task = core.create(SYNC, wait=30)

    assert (task.state, task.attempt) == (Task.STATE_COMPLETED, 1), task
    request = plugin.executed[0]
    sync = file_pb2.Sync()
    request.parameters.Unpack(sync)
    assert sync == file_pb2.Sync(repository="repositories/file/foo", remote="remotes/file/bar")
    assert [one.role for one in request.resources] == ["repository", "remote"]
    assert request.resources[0].repository.base_version == 0
    assert request.task == task.name
    assert not task.changed


def test_results_progress_and_warnings_are_kept(core: Core, plugin: FakePlugin) -> None:
    """What the plugin says while it runs, and its typed result, are in the task."""

    def execute(_request: object, _context: object) -> Events:
        yield plugin_tasks_pb2.ExecuteResponse(progress=progress_pb2.Progress(code="a", done=1))
        yield plugin_tasks_pb2.ExecuteResponse(progress=progress_pb2.Progress(code="a", done=2))
        yield plugin_tasks_pb2.ExecuteResponse(
            warning=diagnostic_pb2.Diagnostic(reason="ODD", message="Odd.")
        )
        yield plugin_tasks_pb2.ExecuteResponse(
            completed=plugin_tasks_pb2.Completed(result=pack(file_pb2.SyncResult(listed_files=7)))
        )

    plugin.execute = execute
    task = core.create(SYNC, wait=30)

    result = file_pb2.SyncResult()
    assert task.result.Unpack(result)
    assert result.listed_files == 7
    assert [(one.code, one.done) for one in task.progress if one.code == "a"] == [("a", 2)]
    assert [one.reason for one in task.warnings] == ["ODD"]


def test_a_failure_is_passed_on_unchanged(core: Core, plugin: FakePlugin) -> None:
    """The status of Failed is the task's error, down to its details."""
    status = status_pb2.Status(code=9, message="The manifest is empty.")
    status.details.append(
        pack(error_details_pb2.ErrorInfo(reason="MANIFEST_EMPTY", domain="file.plugins.entrepot"))
    )

    def execute(_request: object, _context: object) -> Events:
        yield plugin_tasks_pb2.ExecuteResponse(failed=plugin_tasks_pb2.Failed(status=status))

    plugin.execute = execute
    task = core.create(SYNC, wait=30)

    assert task.state == Task.STATE_FAILED
    assert status == task.error


def test_a_retryable_failure_is_repeated(core: Core, plugin: FakePlugin) -> None:
    """An attempt that failed for a passing reason is counted and repeated after a while."""

    def execute(request: plugin_tasks_pb2.ExecuteRequest, _context: object) -> Events:
        if request.attempt == 1:
            status = status_pb2.Status(code=14, message="Upstream is down.")
            yield plugin_tasks_pb2.ExecuteResponse(
                failed=plugin_tasks_pb2.Failed(status=status, retryable=True)
            )
        else:
            yield completed()

    plugin.execute = execute
    task = core.create(SYNC, wait=30)

    assert (task.state, task.attempt) == (Task.STATE_COMPLETED, 2)
    assert [(lost.number, lost.counted) for lost in task.lost_attempts] == [(1, True)]


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("can't start new thread"), OSError(ENOMEM, "No memory")]
)
def test_a_dispatcher_without_memory_gives_up_the_attempt_alone(
    core: Core, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this process lacks is no fault of the task: it is repeated, where there may be more."""
    works, errors = Attempt._parameters, [error]

    def lacks_once(attempt: Attempt) -> object:
        if errors:
            raise errors.pop()
        return works(attempt)

    monkeypatch.setattr(Attempt, "_parameters", lacks_once)
    task = core.create(SYNC, wait=30)

    assert (task.state, task.attempt) == (Task.STATE_COMPLETED, 2)
    assert [(lost.reason, lost.counted) for lost in task.lost_attempts] == [
        ("The dispatcher had no memory left for it.", True)
    ]


def two_finals(_request: object, _context: object) -> Events:
    """Ends twice."""
    yield completed()
    yield completed()


def wrong_result(_request: object, _context: object) -> Events:
    """Completes with a result of another type."""
    result = pack(file_pb2.Sync())
    yield plugin_tasks_pb2.ExecuteResponse(completed=plugin_tasks_pb2.Completed(result=result))


def foreign_role(_request: object, _context: object) -> Events:
    """Wants to replace what it was only lent to read."""
    yield plugin_tasks_pb2.ExecuteResponse(
        completed=plugin_tasks_pb2.Completed(
            commit_modes={"remote": plugin_tasks_pb2.Completed.COMMIT_MODE_REPLACE}
        )
    )


def no_error(_request: object, _context: object) -> Events:
    """Fails without saying with what."""
    yield plugin_tasks_pb2.ExecuteResponse(failed=plugin_tasks_pb2.Failed())


@pytest.mark.parametrize("execute", [two_finals, wrong_result, foreign_role, no_error])
def test_nonsense_fails_the_task_at_once(core: Core, plugin: FakePlugin, execute: object) -> None:
    """A plugin that breaks the contract is named in the error, and not tried again."""
    plugin.execute = execute  # type: ignore[assignment]

    task = core.create(SYNC, wait=30)

    assert (task.state, reason(task)) == (Task.STATE_FAILED, "PLUGIN_CONTRACT_VIOLATION")
    assert len(plugin.executed) == 1


def test_a_stream_without_an_end_is_an_attempt_lost(core: Core, plugin: FakePlugin) -> None:
    """No final event is an accident: repeated, up to three times in all."""

    def execute(request: plugin_tasks_pb2.ExecuteRequest, _context: object) -> Events:
        if request.attempt == 2:
            yield completed()

    plugin.execute = execute
    task = core.create(SYNC, wait=30)

    assert (task.state, task.attempt) == (Task.STATE_COMPLETED, 2)
    assert "without a final event" in task.lost_attempts[0].reason


@pytest.mark.parametrize("heartbeat_timeout", [2])
def test_silence_loses_the_attempt(core: Core, plugin: FakePlugin) -> None:
    """A plugin that says nothing for longer than the heartbeat timeout is given up."""
    canceled = threading.Event()

    def execute(request: plugin_tasks_pb2.ExecuteRequest, context: grpc.ServicerContext) -> Events:
        context.add_callback(canceled.set)
        if request.attempt == 1:
            plugin.released.wait(20)
        yield completed()

    plugin.execute = execute
    task = core.create(SYNC, wait=30)

    assert (task.state, task.attempt) == (Task.STATE_COMPLETED, 2)
    assert "said nothing" in task.lost_attempts[0].reason
    assert canceled.wait(20)


def test_a_full_plugin_is_asked_again_uncounted(core: Core, plugin: FakePlugin) -> None:
    """RESOURCE_EXHAUSTED before any event is no loss: the task waits, and is not counted."""

    def execute(request: plugin_tasks_pb2.ExecuteRequest, context: grpc.ServicerContext) -> Events:
        if request.attempt == 1:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
        yield completed()

    plugin.execute = execute
    task = core.create(SYNC, wait=30)

    assert task.state == Task.STATE_COMPLETED
    assert [(lost.number, lost.counted) for lost in task.lost_attempts] == [(1, False)]


def test_the_death_of_the_plugin_repeats_the_attempt(core: Core, plugin: FakePlugin) -> None:
    """When the stream breaks in the middle, the task waits for the plugin and runs again."""
    running = threading.Event()

    def execute(request: plugin_tasks_pb2.ExecuteRequest, _context: object) -> Events:
        yield plugin_tasks_pb2.ExecuteResponse(heartbeat=plugin_tasks_pb2.Heartbeat())
        if request.attempt == 1:
            running.set()
            plugin.released.wait(20)
        yield completed()

    plugin.execute = execute
    task = core.create(SYNC)
    assert running.wait(20)
    plugin.stop()
    plugin.start()

    task = core.read(task.name, wait=30)
    assert (task.state, task.attempt) == (Task.STATE_COMPLETED, 2)
    assert task.lost_attempts[0].counted


def test_a_running_task_is_canceled(core: Core, plugin: FakePlugin) -> None:
    """Canceling a running task ends its stream and the task, within seconds."""
    running = threading.Event()
    canceled = threading.Event()

    def execute(_request: object, context: grpc.ServicerContext) -> Events:
        context.add_callback(canceled.set)
        yield plugin_tasks_pb2.ExecuteResponse(heartbeat=plugin_tasks_pb2.Heartbeat())
        running.set()
        plugin.released.wait(20)
        yield completed()

    plugin.execute = execute
    task = core.create(SYNC)
    assert running.wait(20)

    assert core.cancel(task.name).cancel_requested

    task = core.read(task.name, wait=10)
    assert (task.state, reason(task)) == (Task.STATE_CANCELED, "CANCELED")
    assert canceled.wait(5)
    assert core.database.fetch("SELECT count(*) FROM workspace") == [(0,)]
