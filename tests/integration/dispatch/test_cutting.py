"""Attempts that are told to stop and do not: they are cut, and what they do later counts not."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
from google.protobuf.message import Message

from core_under_test import Core, a_config, a_repository, running_api, running_dispatch
from entrepot.core.v1 import task_service_pb2, tasks_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot_core.dispatch.process import DispatchProcess
from entrepot_core.store.engine_check import check_engine
from fake_plugin import FakePlugin
from polling import until

Task = task_service_pb2.Task


@pytest.fixture
def core(core_dsn: str, tmp_path: Path) -> Iterator[Core]:
    """A core with the plugin, and a repository foo."""
    plugin = FakePlugin().start()
    with running_api(a_config(core_dsn, tmp_path, slots=1)) as core:
        core.register(plugin)
        a_repository(core.database)
        yield core
        assert list(check_engine(core.database)) == []
    plugin.stop()


@pytest.fixture
def process(core: Core) -> Iterator[DispatchProcess]:
    """A dispatcher with one slot, soon impatient."""
    with running_dispatch(core.config, cancel_grace_seconds=0.3) as process:
        yield process


@contextmanager
def held_up(core: Core, table: str) -> Iterator[None]:
    """Somebody holds a lock on a whole table, and all who need it wait."""
    connection = psycopg2.connect(core.config.database_url)
    try:
        connection.cursor().execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield
    finally:
        connection.close()


def hangs(core: Core, process: DispatchProcess, table: str) -> bool:
    """Whether the attempt waits for that table, for which whoever keeps house may wait, too."""
    lent = process.database._lent
    threads = [one.ident for one in attempt_threads()]
    pids = [lent[one].info.backend_pid for one in threads if one in lent]
    waits = (
        "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = %s::regclass AND pid = ANY(%s)"
    )
    return bool(core.database.fetch(waits, (table, pids)))


def attempt_threads() -> list[threading.Thread]:
    """The threads of attempts that have not ended."""
    return [one for one in threading.enumerate() if one.name.startswith("attempt-")]


@pytest.mark.parametrize(
    ("parameters", "dry_run", "table"),
    [
        # It reads, with nothing locked, and goes on from step to step.
        (tasks_pb2.RepairBlobs(), False, "blob"),
        (tasks_pb2.CollectOrphans(), False, "content"),
        # It has locked the repository, and its own workspace.
        (file_pb2.Remove(repository="foo", all=True), True, "member"),
    ],
)
def test_core_work_that_does_not_stop_is_cut(
    core: Core, process: DispatchProcess, parameters: Message, dry_run: bool, table: str
) -> None:
    """A core task that hangs ends canceled all the same, and frees its slot and its locks."""
    with held_up(core, table):
        task = core.create(parameters, dry_run=dry_run)
        until(lambda: hangs(core, process, table), "the work to hang")
        core.cancel(task.name)
        ended = core.read(task.name, wait=20)

        assert ended.state == Task.STATE_CANCELED
        assert core.database.fetch("SELECT 1 FROM lock_entry") == []
        assert core.database.fetch("SELECT 1 FROM workspace") == []

    # The only slot is free, and so is the repository.
    add = core.create(file_pb2.Remove(repository="foo", all=True), wait=20)
    until(lambda: not attempt_threads(), "whoever was cut to end")
    assert add.state == Task.STATE_COMPLETED, add.error
    after = core.read(task.name)
    assert (after.state, after.attempt) == (Task.STATE_CANCELED, 1)
    assert list(after.lost_attempts) == []
