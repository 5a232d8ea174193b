"""One client creates tasks by the thousand; another's first one does not wait for them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from core_under_test import Core, a_config, a_remote, a_repository, running_api, running_dispatch
from entrepot.core.v1 import task_service_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot_core.store.engine_check import check_engine
from fake_plugin import FakePlugin

Task = task_service_pb2.Task
# 10,000 with `make test-faults`.
BURST = 10_000 if "ENTREPOT_TEST_LONG" in os.environ else 300

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def core(core_dsn: str, tmp_path: Path) -> Iterator[Core]:
    """An api with a plugin, two repositories and a remote; nobody runs tasks."""
    plugin = FakePlugin().start()
    with running_api(a_config(core_dsn, tmp_path, slots=2)) as core:
        core.register(plugin)
        a_remote(core.database)
        for name in ("busy", "other"):
            a_repository(core.database, name)
        yield core
        assert list(check_engine(core.database)) == []
    plugin.stop()


def test_a_burst_is_taken_and_delays_nobody(core: Core) -> None:
    """All tasks of a burst are taken and wait in turn; who comes after them is served first."""
    burst = file_pb2.Sync(repository="busy", remote="bar")
    for _ in range(BURST):
        core.create(burst)
    other = core.create(file_pb2.Sync(repository="other", remote="bar"))
    with running_dispatch(core.config):
        other = core.read(other.name, wait=60)
        # By the database's clock, whatever is done until we look.
        ((before,),) = core.database.fetch(
            "SELECT count(*) FROM task WHERE started_at < ("
            "SELECT started_at FROM task WHERE task_id = %s::uuid)",
            (other.name.partition("/")[2],),
        )

    assert other.state == Task.STATE_COMPLETED
    assert before <= 10
    ((total,),) = core.database.fetch("SELECT count(*) FROM task")
    assert total == BURST + 1
