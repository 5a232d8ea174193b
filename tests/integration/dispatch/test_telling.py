"""What attempts tell people: lines and failures, kept with the task and bounded."""

from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from blocking import is_awaited
from core_under_test import (
    Core,
    a_config,
    a_remote,
    a_repository,
    errors_of_core,
    running_api,
    running_dispatch,
)
from entrepot.core.v1 import task_service_pb2
from entrepot.plugin.v1 import plugin_tasks_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot.type.v1.log_line_pb2 import LogLine
from entrepot.type.v1.unit_failure_pb2 import UnitFailure
from entrepot_rpc.errors import ServiceError
from entrepot_rpc.status import from_status
from fake_plugin import FakePlugin, completed
from polling import until

Task = task_service_pb2.Task
Response = plugin_tasks_pb2.ExecuteResponse
SYNC = file_pb2.Sync(repository="foo", remote="bar")


@pytest.fixture
def plugin() -> Iterator[FakePlugin]:
    """A plugin that a test scripts."""
    plugin = FakePlugin().start()
    yield plugin
    plugin.stop()


@pytest.fixture
def core(core_dsn: str, tmp_path: Path, plugin: FakePlugin) -> Iterator[Core]:
    """A core with a dispatcher, the plugin, a repository foo and a remote bar."""
    config = a_config(core_dsn, tmp_path)
    with running_api(config) as core, running_dispatch(config):
        core.register(plugin)
        a_repository(core.database)
        a_remote(core.database)
        yield core


def lines_of(core: Core, task: Task, attempt: int = 0) -> list[LogLine]:
    """All lines of a task, page by page."""
    found: list[LogLine] = []
    request = task_service_pb2.ListTaskLogsRequest(
        parent=task.name, page_size=300, attempt=attempt
    )
    while True:
        with errors_of_core():
            page = core.tasks.ListTaskLogs(request, metadata=core.metadata, timeout=20)
        found.extend(page.lines)
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


def failures_of(core: Core, task: Task) -> task_service_pb2.ListTaskFailuresResponse:
    """The first page of failures."""
    request = task_service_pb2.ListTaskFailuresRequest(parent=task.name, page_size=2)
    with errors_of_core():
        return core.tasks.ListTaskFailures(request, metadata=core.metadata, timeout=20)


def test_a_plugin_that_logs_without_end(core: Core, plugin: FakePlugin) -> None:
    """Of very many and very long lines a bounded number is kept, in order, and the task ends."""

    def execute(_request: object, _context: object) -> Iterator[Response]:
        yield Response(log=LogLine(message="y" * 10_000_000, level=LogLine.LEVEL_WARNING))
        for number in range(5_000):
            yield Response(log=LogLine(message=f"line {number}"))
        yield completed()

    plugin.execute = execute
    task = core.create(SYNC, wait=60)

    assert task.state == Task.STATE_COMPLETED
    found = lines_of(core, task)
    assert len(found) == 1_001
    assert (len(found[0].message), found[0].attempt) == (2_000, 1)
    assert [one.message for one in found[1:3]] == ["line 0", "line 1"]
    assert found[-1].message.startswith("4,001 more lines are left out")
    assert not lines_of(core, task, attempt=2)


def test_an_event_that_is_too_large_is_no_full_plugin(core: Core, plugin: FakePlugin) -> None:
    """It would be sent again for ever: the task fails at once, and says what the plugin did."""

    def execute(_request: object, _context: object) -> Iterator[Response]:
        yield Response(log=LogLine(message="z" * 17_000_000))

    plugin.execute = execute
    task = core.create(SYNC, wait=60)

    assert (task.state, task.attempt) == (Task.STATE_FAILED, 1)
    assert from_status(task.error).reason == "PLUGIN_CONTRACT_VIOLATION"


@pytest.mark.parametrize("policy", [UnitFailure.POLICY_STRICT, UnitFailure.POLICY_KEEP_GOING])
def test_failures_without_end(
    core: Core, plugin: FakePlugin, policy: UnitFailure.Policy.ValueType
) -> None:
    """All are counted and a bounded number kept; with nothing brought in, the task fails."""

    def execute(request: plugin_tasks_pb2.ExecuteRequest, _context: object) -> Iterator[Response]:
        assert request.on_failure == policy
        for number in range(10_500):
            yield Response(
                unit_failure=UnitFailure(relative_path=f"f{number}", reason="ODD", message="Odd.")
            )
        yield completed()

    plugin.execute = execute
    task = core.create(SYNC, wait=60, on_failure=policy)

    assert (task.state, task.failures) == (Task.STATE_FAILED, 10_500), task.error
    assert from_status(task.error).reason == "ODD"
    assert "In all, 10,500 units failed: f0, f1" in task.error.message
    page = failures_of(core, task)
    assert [one.relative_path for one in page.failures] == ["f0", "f1"]
    assert page.next_page_token
    request = task_service_pb2.CloneTaskRequest(name=task.name, only_failures=True)
    with pytest.raises(ServiceError, match="only 10,000 are kept"), errors_of_core():
        core.tasks.CloneTask(request, metadata=core.metadata, timeout=20)


def test_a_later_attempt_replaces_the_failures(core: Core, plugin: FakePlugin) -> None:
    """What failed in an attempt that was lost is no gap of the one that ended the task."""

    def execute(request: plugin_tasks_pb2.ExecuteRequest, _context: object) -> Iterator[Response]:
        yield Response(log=LogLine(message="Hello."))
        if request.attempt == 1:
            yield Response(unit_failure=UnitFailure(relative_path="x", reason="A", message="b"))
            return
        yield completed()

    plugin.execute = execute
    task = core.create(SYNC, wait=60)

    assert (task.state, task.attempt, task.failures) == (Task.STATE_COMPLETED, 2, 0)
    assert not failures_of(core, task).failures
    # What the first said in its last moment is there.
    assert [(one.attempt, one.message) for one in lines_of(core, task)] == [
        (1, "Hello."),
        (2, "Hello."),
    ]


def test_what_is_said_at_the_end_waits_for_the_workspace(core: Core, plugin: FakePlugin) -> None:
    """What was told last is there when the task ends, also if the workspace is in use then."""
    holder = psycopg2.connect(core.config.database_url)

    def execute(_request: object, _context: object) -> Iterator[Response]:
        # As if something was still being staged.
        holder.cursor().execute("SELECT FROM workspace FOR UPDATE")
        yield Response(log=LogLine(message="Hello."))
        yield Response(unit_failure=UnitFailure(relative_path="x", reason="ODD", message="Odd."))
        yield completed()

    plugin.execute = execute
    task = core.create(SYNC)
    until(lambda: is_awaited(core.database, holder), "the attempt to end")
    holder.close()
    ended = core.read(task.name, wait=60)

    assert (ended.state, ended.failures) == (Task.STATE_FAILED, 1)
    assert [one.relative_path for one in failures_of(core, task).failures] == ["x"]
    assert [one.message for one in lines_of(core, task)] == ["Hello."]


@pytest.mark.parametrize("token", ["MQ", "eCB5", "LTEgLTE"])
def test_a_token_of_nowhere(core: Core, token: str) -> None:
    """A token that no page gave is refused."""
    name = "tasks/0190aaaa-0000-7000-8000-000000000000"
    request = task_service_pb2.ListTaskLogsRequest(parent=name, page_token=token)
    with pytest.raises(ServiceError, match="page_token"), errors_of_core():
        core.tasks.ListTaskLogs(request, metadata=core.metadata, timeout=20)
