"""Dispatchers as real processes: killed, stopped, drained."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from core_under_test import (
    Core,
    a_config,
    a_remote,
    a_repository,
    running_api,
    running_dispatch,
)
from declarations import file_plugin
from dispatch_program import dispatch_program, log_of
from entrepot.core.v1 import task_service_pb2
from entrepot.plugin.v1 import describe_pb2, plugin_tasks_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot_core.blobs.opening import open_blob_store
from entrepot_core.store import queue
from entrepot_core.store.engine_check import check_engine
from entrepot_core.store.runner import Role, SingleRunner
from entrepot_rpc.status import from_status
from fake_plugin import FakePlugin, completed
from polling import until

Task = task_service_pb2.Task
SYNC = file_pb2.Sync(repository="foo", remote="bar")


@pytest.fixture
def plugin() -> Iterator[FakePlugin]:
    """A plugin whose first attempt of each task goes on until it is released."""
    plugin = FakePlugin().start()

    def execute(
        request: plugin_tasks_pb2.ExecuteRequest, _context: object
    ) -> Iterator[plugin_tasks_pb2.ExecuteResponse]:
        yield plugin_tasks_pb2.ExecuteResponse(heartbeat=plugin_tasks_pb2.Heartbeat())
        if request.attempt == 1:
            plugin.released.wait(60)
        yield completed()

    plugin.execute = execute
    yield plugin
    plugin.stop()


@pytest.fixture
def core(core_dsn: str, tmp_path: Path, plugin: FakePlugin) -> Iterator[Core]:
    """An api with the plugin, a repository foo and a remote bar; nobody runs tasks."""
    with running_api(a_config(core_dsn, tmp_path)) as core:
        core.register(plugin)
        a_repository(core.database)
        a_remote(core.database)
        yield core
        assert list(check_engine(core.database)) == []


def runs(core: Core, name: str) -> bool:
    """Whether a task runs."""
    return core.read(name).state == Task.STATE_RUNNING


def test_the_work_of_a_killed_dispatcher_is_taken_over(core: Core, plugin: FakePlugin) -> None:
    """After kill -9 another dispatcher repeats the attempt under the next number."""
    with dispatch_program(core) as process:
        task = core.create(SYNC)
        until(lambda: bool(plugin.executed), "the attempt to start")
        process.kill()
        process.wait()

    with running_dispatch(core.config):
        task = core.read(task.name, wait=40)

    assert (task.state, task.attempt) == (Task.STATE_COMPLETED, 2)
    assert "died" in task.lost_attempts[0].reason


def test_a_drained_dispatcher_finishes_what_it_runs(core: Core, plugin: FakePlugin) -> None:
    """After SIGTERM the attempt under way goes on to its end, and nothing new is claimed."""
    with dispatch_program(core) as process:
        first = core.create(SYNC)
        until(lambda: bool(plugin.executed), "the attempt to start")
        second = core.create(SYNC)
        process.send_signal(signal.SIGTERM)
        until(lambda: "dispatcher.draining" in log_of(core).read_text(), "it to drain")
        plugin.released.set()
        assert process.wait(timeout=30) == 0

    assert core.read(first.name).state == Task.STATE_COMPLETED
    assert core.read(second.name).state == Task.STATE_WAITING


def test_what_must_not_be_repeated_ends_unknown(core: Core, plugin: FakePlugin) -> None:
    """A killed dispatcher leaves a non-repeatable task's fate unknown, and it says so."""
    changed = describe_pb2.DescribeResponse()
    changed.CopyFrom(file_plugin("0.2.0"))
    changed.task_types[0].repeatable = False
    plugin.declaration = changed
    core.register(plugin)
    with dispatch_program(core) as process:
        task = core.create(SYNC)
        until(lambda: bool(plugin.executed), "the attempt to start")
        process.kill()
        process.wait()

    with running_dispatch(core.config):
        task = core.read(task.name, wait=40)

    assert (task.state, task.attempt) == (Task.STATE_FAILED, 1)
    assert from_status(task.error).reason == "OUTCOME_UNKNOWN"
    assert len(plugin.executed) == 1


def test_a_claim_that_nobody_runs_is_given_up(core: Core, plugin: FakePlugin) -> None:
    """A claim that took effect unseen by its dispatcher is lost, and the task completed."""
    plugin.released.set()
    task = core.create(SYNC)
    with ExitStack() as stack:
        with core.database.transaction() as cursor:
            # Whoever claims waits for this one, so the claim is made behind the dispatcher's back.
            cursor.execute("SELECT pg_advisory_xact_lock(0, 1)")
            process = stack.enter_context(running_dispatch(core.config))
            number = process.dispatcher._session.dispatcher_id
            assert len(queue.claim(cursor, number, [bytes(32)])) == 1
        task = core.read(task.name, wait=30)

    assert (task.state, task.attempt) == (Task.STATE_COMPLETED, 2)
    (lost,) = task.lost_attempts
    assert (lost.counted, "lost sight" in lost.reason) == (False, True)


def test_the_role_of_a_process_that_says_nothing_passes_on(core: Core) -> None:
    """Who holds a role and is stopped, or cut off behind a proxy, keeps it for a bounded time."""
    goes_on, took, acted = threading.Event(), threading.Event(), threading.Event()

    def stopped() -> float:
        took.set()
        goes_on.wait(30)
        return 0.0

    def steps() -> float:
        acted.set()
        return 0.01

    url = core.config.database_url
    with ExitStack() as stack:
        first = SingleRunner(url, Role.HOUSEKEEPER, stopped, silent_seconds=0.2)
        stack.callback(first.stop)
        stack.callback(goes_on.set)
        first.start()
        assert took.wait(20)
        second = SingleRunner(url, Role.HOUSEKEEPER, steps, stand_by_seconds=0.02)
        stack.callback(second.stop)
        second.start()

        assert acted.wait(20)
        assert second.is_leading


def test_a_dispatcher_removes_what_one_before_it_was_writing(core: Core) -> None:
    """Temporary files of the dead go when a dispatcher starts, also while another keeps house."""
    store = open_blob_store(*core.config.blobs)
    other = SingleRunner(core.config.database_url, Role.HOUSEKEEPER, lambda: 60.0)
    other.start()
    until(lambda: other.is_leading, "another to keep house")
    dead = core.config.home / "blobs" / "tmp" / "dead"
    dead.mkdir(parents=True)
    (dead / "0").write_bytes(b"half of a f")
    dead.with_suffix(".lock").touch()
    before = store.temporary_files()

    with running_dispatch(core.config):
        after = store.temporary_files()

    other.stop()
    store.close()
    assert (before, after) == (1, 0)


def test_a_lost_session_is_resumed(core: Core, plugin: FakePlugin) -> None:
    """When its connections are cut, a dispatcher goes on with the streams it has."""
    with running_dispatch(core.config) as process:
        task = core.create(SYNC)
        until(lambda: bool(plugin.executed), "the attempt to start")
        number = process.dispatcher._session.dispatcher_id
        core.database.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'entrepot dispatch%%'"
            " AND datname = current_database()",
            (),
        )
        until(lambda: process.dispatcher._session.is_registered, "the session to be back")
        plugin.released.set()
        task = core.read(task.name, wait=30)

        assert process.dispatcher._session.dispatcher_id == number
    assert (task.state, task.attempt) == (Task.STATE_COMPLETED, 1)
