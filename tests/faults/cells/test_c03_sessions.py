"""Cell 3: a session of the database is a sign of life, and neither its end nor silence lies."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from core_under_test import Core, a_config, a_remote, a_repository, running_api, running_dispatch
from dispatch_program import dispatch_program
from entrepot.core.v1 import task_service_pb2
from entrepot.plugin.v1 import plugin_tasks_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot_core.dispatch import sweeper
from entrepot_core.store.database import connect
from entrepot_core.store.engine_check import check_engine
from fake_plugin import FakePlugin, completed
from polling import until

Task = task_service_pb2.Task
SYNC = file_pb2.Sync(repository="foo", remote="bar")


@pytest.fixture
def plugin() -> Iterator[FakePlugin]:
    """A plugin whose attempts go on until they are released."""
    plugin = FakePlugin().start()

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
    """An api with the plugin, a repository foo and a remote bar; nobody runs tasks."""
    with running_api(a_config(core_dsn, tmp_path)) as core:
        core.register(plugin)
        a_repository(core.database)
        a_remote(core.database)
        yield core
        assert list(check_engine(core.database)) == []


def test_a_live_dispatcher_keeps_its_work(
    core: Core, plugin: FakePlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the database ends all sessions of one that lives, another does not take its work.

    Provided that the one has another session in time, for which a busy machine may be too slow.
    """
    monkeypatch.setattr(sweeper, "_SESSION_GONE_SECONDS", 60)
    with dispatch_program(core) as process:
        task = core.create(SYNC)
        until(lambda: bool(plugin.executed), "the attempt to start")
        with running_dispatch(core.config) as other:
            before = core.database.fetch(
                "SELECT backend_pid FROM dispatcher WHERE name LIKE %s", (f"%:{process.pid}",)
            )
            core.database.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity JOIN dispatcher"
                " ON application_name LIKE '%%' || process WHERE name LIKE %s",
                (f"%:{process.pid}",),
            )
            until(
                lambda: (
                    core.database.fetch(
                        "SELECT backend_pid FROM dispatcher WHERE name LIKE %s",
                        (f"%:{process.pid}",),
                    )
                    != before
                ),
                "its new session",
            )
            plugin.released.set()
            task = core.read(task.name, wait=100)
            assert other.dispatcher.running() == 0

    assert (task.state, task.attempt) == (Task.STATE_COMPLETED, 1), task.lost_attempts
    assert len(plugin.executed) == 1


def test_silence_is_noticed_on_both_sides(core_dsn: str) -> None:
    """Every session asks for seconds, whatever the server is configured to."""
    connection = connect(core_dsn)
    try:
        ours = connection.get_dsn_parameters()
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT name, reset_val::bigint FROM pg_settings WHERE name IN"
                " ('client_connection_check_interval', 'idle_in_transaction_session_timeout')"
            )
            theirs = dict(cursor.fetchall())
    finally:
        connection.close()

    assert 0 < theirs["client_connection_check_interval"] <= 5_000
    assert 0 < theirs["idle_in_transaction_session_timeout"] <= 15_000
    assert {ours["keepalives_idle"], ours["keepalives_interval"], ours["tcp_user_timeout"]} == {
        "2",
        "1",
        "5000",
    }
