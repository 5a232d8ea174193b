"""Cell 1: a dispatcher that was stopped, superseded and woken does nothing any more.

Sweeps stop dispatchers at all other instants; here the plugin acts outside, where it cannot be
undone.
"""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from acting_plugin import acting_plugin
from core_under_test import Core, a_config, a_remote, a_repository, running_api, running_dispatch
from dispatch_program import dispatch_program
from entrepot.core.v1 import plugin_service_pb2, task_service_pb2
from entrepot.plugin.v1.plugin_tasks_pb2 import ExecuteRequest
from entrepot.plugin.v1.plugin_tasks_pb2_grpc import PluginTasksStub
from entrepot.plugins.file.v1 import file_pb2
from entrepot_core.store.engine_check import check_engine
from entrepot_rpc.channel import connect
from entrepot_rpc.status import from_status
from polling import until

Task = task_service_pb2.Task
SYNC = file_pb2.Sync(repository="foo", remote="bar")


@pytest.fixture
def acts(tmp_path: Path) -> Path:
    """Where the plugin leaves a line each time that it acts."""
    acts = tmp_path / "acts"
    acts.touch()
    return acts


@pytest.fixture
def core(core_dsn: str, tmp_path: Path, acts: Path) -> Iterator[Core]:
    """An api with the plugin, a repository foo and a remote bar; nobody runs tasks."""
    with (
        running_api(a_config(core_dsn, tmp_path / "home")) as core,
        acting_plugin(core.address, acts) as plugin,
    ):
        request = plugin_service_pb2.CreatePluginRequest(
            plugin=plugin_service_pb2.Plugin(target=plugin.address)
        )
        core.plugins.CreatePlugin(request, metadata=core.metadata, timeout=60)
        a_repository(core.database)
        a_remote(core.database)
        yield core
        assert list(check_engine(core.database)) == []


def wait_stopped(process: subprocess.Popen[str]) -> None:
    """Return once a failpoint has stopped the process."""
    stat = Path(f"/proc/{process.pid}/stat")
    until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "the failpoint", 60)


@contextmanager
def taken_over(core: Core, process: subprocess.Popen[str]) -> Iterator[None]:
    """Another dispatcher runs, and the database ends the sessions of the one that is stopped.

    As it does with those of a host that is cut off.
    """
    with running_dispatch(core.config):
        core.database.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity JOIN dispatcher"
            " ON application_name LIKE '%%' || process WHERE name LIKE %s",
            (f"%:{process.pid}",),
        )
        yield


def wake(process: subprocess.Popen[str]) -> None:
    """Let it go on, until it has ended in good order: by then it has done all that it will."""
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGTERM)
    process.wait(60)


@pytest.mark.parametrize("action", ["kill", "stop"])
def test_lost_before_execute(core: Core, acts: Path, action: str) -> None:
    """A dispatcher lost between claim and Execute has not begun: the task runs once, elsewhere."""
    with dispatch_program(core, f"claim.committed={action}*1") as process:
        task = core.create(SYNC)
        if action == "kill":
            process.wait(60)
            with running_dispatch(core.config):
                task = core.read(task.name, wait=100)
        else:
            wait_stopped(process)
            with taken_over(core, process):
                task = core.read(task.name, wait=100)
                wake(process)

    assert (task.state, task.attempt) == (Task.STATE_COMPLETED, 2), task.error
    assert acts.read_text().count("\n") == 1


def test_woken_between_note_and_execute(core: Core, acts: Path) -> None:
    """One that had noted that it executes leaves the fate unknown, and executes nothing later."""
    with dispatch_program(core, "execute.noted=stop*1") as process:
        task = core.create(SYNC)
        wait_stopped(process)
        with taken_over(core, process):
            task = core.read(task.name, wait=100)
            wake(process)

    assert task.state == Task.STATE_FAILED
    assert from_status(task.error).reason == "OUTCOME_UNKNOWN"
    assert acts.read_text() == ""


def test_a_dead_token_runs_no_author_code(core: Core, acts: Path) -> None:
    """Asked to execute with a token of no attempt, a plugin asks core first, and does nothing."""
    ((target,),) = core.database.fetch("SELECT target FROM plugin WHERE name = 'file'")
    request = ExecuteRequest(
        task="tasks/0190", attempt=1, attempt_token="x" * 43, task_type="file/syncs"
    )
    request.parameters.Pack(SYNC)
    channel = connect(target)
    with channel, pytest.raises(Exception, match=r"UNAUTHENTICATED|ABORTED"):
        list(PluginTasksStub(channel).Execute(request, timeout=60))

    assert acts.read_text() == ""
