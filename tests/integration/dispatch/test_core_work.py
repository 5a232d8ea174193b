"""Core's own work: adds, removes, copies, and collecting orphans, without the plugin."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from core_under_test import Core, a_config, a_repository, running_api, running_dispatch
from core_units import a_unit
from entrepot.core.v1 import task_service_pb2, tasks_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot_core.store.engine_check import check_engine
from fake_plugin import FakePlugin

Task = task_service_pb2.Task


@pytest.fixture
def core(core_dsn: str, tmp_path: Path) -> Iterator[Core]:
    """A core with a dispatcher, the repositories foo and bar, and a plugin that has gone."""
    plugin = FakePlugin().start()
    with running_api(a_config(core_dsn, tmp_path)) as core, running_dispatch(core.config):
        core.register(plugin)
        a_repository(core.database, "foo")
        a_repository(core.database, "bar")
        plugin.stop()
        yield core
        assert list(check_engine(core.database)) == []


def completed(task: Task) -> Task:
    """The task, which must have completed."""
    assert task.state == Task.STATE_COMPLETED, task
    return task


def test_units_are_added_removed_and_copied(core: Core) -> None:
    """Each makes a version and names it, also while the plugin is down."""
    a, b = a_unit(core, "a"), a_unit(core, "bb")

    added = completed(core.create(file_pb2.Add(repository="foo", content=[a, b]), wait=30))
    copied = completed(
        core.create(
            file_pb2.Copy(source="foo", repository="bar", filter='relative_path = "a"'), wait=30
        )
    )
    removed = completed(core.create(file_pb2.Remove(repository="foo", content=[b]), wait=30))
    again = completed(core.create(file_pb2.Add(repository="foo", content=[a]), wait=30))

    assert added.created_resource == "repositories/file/foo/versions/1"
    assert (added.differences[0].added, added.changed) == (2, True)
    assert (copied.created_resource, copied.differences[0].added) == (
        "repositories/file/bar/versions/1",
        1,
    )
    assert (removed.created_resource, removed.differences[0].removed) == (
        "repositories/file/foo/versions/2",
        1,
    )
    assert (again.created_resource, again.changed) == ("", False)


def test_a_dry_run_changes_nothing(core: Core) -> None:
    """A dry run says what would change, and leaves the repository as it is."""
    name = a_unit(core, "a")

    task = completed(
        core.create(file_pb2.Add(repository="foo", content=[name]), wait=30, dry_run=True)
    )

    difference = task.differences[0]
    assert (difference.added, difference.version, task.created_resource) == (1, 0, "")
    assert [line.path for line in difference.added_units] == ["a"]
    assert task.changed
    assert core.database.fetch("SELECT count(*) FROM member") == [(0,)]


def test_removing_what_is_not_there_is_refused(core: Core) -> None:
    """A unit that the repository does not have cannot be removed from it."""
    name = a_unit(core, "a")

    task = core.create(file_pb2.Remove(repository="foo", content=[name]), wait=30)

    assert task.state == Task.STATE_FAILED
    assert core.database.fetch("SELECT count(*) FROM workspace") == [(0,)]


def test_orphans_are_collected(core: Core) -> None:
    """A unit without a home goes when its grace is over, and the result counts it."""
    a_unit(core, "a")
    collect = tasks_pb2.CollectOrphans()
    collect.grace.FromSeconds(0)

    task = completed(core.create(collect, wait=60))

    result = tasks_pb2.CollectOrphansResult()
    task.result.Unpack(result)
    assert result.content_units == 1
    assert core.database.fetch("SELECT count(*) FROM content") == [(0,)]
