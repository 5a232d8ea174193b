"""Cell 2: the COMMIT took effect and its answer was lost; it is looked up, never guessed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from attempt_session import Session, a_file, run
from core_under_test import Core, a_config, a_remote, a_repository, running_api, running_dispatch
from dispatch_program import dispatch_program
from entrepot.core.v1 import task_service_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot_core.store.engine_check import check_engine
from entrepot_rpc import failpoints
from entrepot_rpc.errors import ServiceError
from fake_plugin import FakePlugin

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
    """An api with the plugin, a repository foo and a remote bar; nobody runs tasks."""
    with running_api(a_config(core_dsn, tmp_path)) as core:
        core.register(plugin)
        a_repository(core.database)
        a_remote(core.database)
        yield core
        failpoints.configure("")
        assert list(check_engine(core.database)) == []


def test_the_answer_to_a_commit_is_lost(core: Core, plugin: FakePlugin) -> None:
    """A dispatcher that does not hear that it has committed finds that it has: one version."""

    def stage(session: Session) -> None:
        session.write(b"x")
        session.stage(a_file("x"))

    with dispatch_program(core, "commit.committed=drop_reply*1"):
        task = run(core, plugin, stage)

    assert (task.state, task.attempt) == (Task.STATE_COMPLETED, 1), task.error
    assert list(task.lost_attempts) == []
    assert task.created_resource.endswith("/versions/1")
    assert len(plugin.executed) == 1


def test_the_answer_to_a_creation_is_lost(core: Core, plugin: FakePlugin) -> None:
    """A client that asks again with its request id is given the task that it has made."""
    failpoints.configure("create.committed=drop_reply*1")
    with pytest.raises(ServiceError):
        core.create(SYNC, request_id="once")
    again = core.create(SYNC, request_id="once")
    with running_dispatch(core.config):
        ended = core.read(again.name, wait=100)

    assert ended.state == Task.STATE_COMPLETED
    assert core.database.fetch("SELECT count(*) FROM task") == [(1,)]
    assert len(plugin.executed) == 1
