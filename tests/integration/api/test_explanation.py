"""Why is my task waiting? With a real core, a real queue and a scripted plugin."""

import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

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
from entrepot.type.v1 import progress_pb2
from entrepot_rpc.errors import Code, ServiceError
from fake_plugin import FakePlugin, completed
from polling import until

Task = task_service_pb2.Task
Explanation = task_service_pb2.Explanation
Events = Iterator[plugin_tasks_pb2.ExecuteResponse]
SYNC = file_pb2.Sync(repository="foo", remote="bar")
FOO = "repositories/file/foo"


@pytest.fixture
def plugin() -> Iterator[FakePlugin]:
    """A plugin whose attempts say how far they are, and wait until they are released."""
    plugin = FakePlugin()

    def execute(_request: object, _context: object) -> Events:
        progress = progress_pb2.Progress(code="a", message="Counting", done=40, total=100)
        yield plugin_tasks_pb2.ExecuteResponse(progress=progress)
        plugin.released.wait(60)
        yield completed()

    plugin.execute = execute
    plugin.start()
    yield plugin
    plugin.stop()


@pytest.fixture
def core(core_dsn: str, tmp_path: Path, plugin: FakePlugin) -> Iterator[Core]:
    """An api, the plugin, and a repository foo; nobody dispatches yet."""
    with running_api(a_config(core_dsn, tmp_path)) as core:
        core.register(plugin)
        a_repository(core.database)
        a_remote(core.database)
        yield core
        plugin.released.set()


def explain(core: Core, name: str) -> Explanation:
    """Why a task is where it is."""
    request = task_service_pb2.ExplainTaskRequest(task=name)
    with errors_of_core():
        response = core.tasks.ExplainTask(request, metadata=core.metadata, timeout=20)
    return response.explanation


def shift(core: Core, name: str, **columns: float) -> None:
    """Have instants of a task be so many seconds ago."""
    for column, seconds in columns.items():
        statement = f"UPDATE task SET {column} = clock_timestamp() - make_interval(secs => %s)"  # noqa: S608
        core.database.fetch(
            statement + " WHERE task_id = %s::uuid RETURNING 1",
            (seconds, name.removeprefix("tasks/")),
        )


def test_a_chain_of_locks(core: Core, plugin: FakePlugin) -> None:
    """Who holds, since when and how far, the place, who is next, and what that waits for."""
    a_repository(core.database, "other")
    with running_dispatch(core.config):
        holder = core.create(SYNC)
        until(lambda: bool(core.read(holder.name).progress), "the holder to say how far it is")
        # It holds `other` and waits for `foo`, in front of the one that is asked about.
        second = core.create(file_pb2.Copy(source=FOO, repository="other", all=True))
        third = core.create(file_pb2.Copy(source=FOO, repository="other", all=True))

        found = explain(core, third.name)

        links = [(one.waiting, one.resource, one.task) for one in found.blocked_by]
        foo, other = "repositories/file/foo", "repositories/file/other"
        assert (third.name, other, second.name) in links
        assert (third.name, foo, holder.name) in links
        places = {one.resource: one.place for one in found.blocked_by if one.waiting == third.name}
        assert places == {foo: 2, other: 1}
        text = "\n".join(found.sentences)
        assert re.search(
            rf"It waits for {foo}, which {holder.name} \(file/syncs, running for .*, 40 % done\) "
            r"holds; it is number 2 in that queue\.",
            text,
        )
        assert f"{second.name} (file/copies, waiting itself for" in text
        assert [one.cause for one in found.waits] == [Task.Blocker.CAUSE_HELD]
        plugin.released.set()
        assert core.read(third.name, wait=30).state == Task.STATE_COMPLETED


def test_a_chain_goes_on_to_what_the_holder_waits_for(core: Core, plugin: FakePlugin) -> None:
    """A holder that does not run says why: here a plugin that is down, since when, and why."""
    first, last = core.create(SYNC), core.create(SYNC)
    plugin.stop()
    until(lambda: core.database.fetch("SELECT 1 FROM plugin WHERE health = 'down'") != [], "it")
    core.database.fetch(
        "UPDATE plugin_outage SET began_at = clock_timestamp() - interval '1 hour'"
        " WHERE ended_at IS NULL RETURNING 1"
    )
    shift(core, first.name, created_at=7200, ready_at=5400)

    found = explain(core, last.name)

    down = found.blocked_by[-1]
    assert (down.cause, down.waiting) == (Task.Blocker.CAUSE_PLUGIN_DOWN, first.name)
    since = down.since.ToDatetime(UTC)
    assert timedelta(minutes=59) < datetime.now(UTC) - since < timedelta(minutes=61)
    text = "\n".join(found.sentences)
    assert f"{first.name} waits. The plugin file does not take tasks. The plugin" in text
    assert "Connection refused" in text
    assert re.search("It has been so since .* UTC, for 1 h", text)
    waits = {one.cause: one.duration.seconds for one in explain(core, first.name).waits}
    assert waits[Task.Blocker.CAUSE_HELD] == pytest.approx(1800, abs=60)
    assert waits[Task.Blocker.CAUSE_PLUGIN_DOWN] == pytest.approx(3600, abs=60)
    assert waits[Task.Blocker.CAUSE_PLUGIN_FULL] == pytest.approx(1800, abs=60)


def test_nobody_dispatches(core: Core) -> None:
    """A task that could start, and that nobody starts, says so."""
    task = core.create(SYNC)

    assert "and none runs" in explain(core, task.name).sentences[0]


def test_nobody_dispatches_the_one_before(core: Core) -> None:
    """What the last of a chain waits for is said of it, and not of who asks."""
    first, last = core.create(SYNC), core.create(SYNC)

    text = "\n".join(explain(core, last.name).sentences)

    assert f"{first.name} (file/syncs, waiting itself" in text
    assert f"{first.name} waits for a dispatcher, and none runs" in text
    assert "It waits for a dispatcher" not in text


def test_the_only_dispatcher_says_nothing(core: Core) -> None:
    """One that hangs is there and of no use, and the task that waits for it says so."""
    core.database.fetch(
        "INSERT INTO dispatcher (name, slots, process, beat_at)"
        " VALUES ('hung', 4, '', now() - interval '1 minute')"
    )
    task = core.create(SYNC)

    assert "none says anything" in explain(core, task.name).sentences[0]


def test_a_place_far_back_is_not_counted(core: Core) -> None:
    """Beyond a thousand the place is only said to be that."""
    core.create(SYNC)
    template = core.create(SYNC).name.removeprefix("tasks/")
    core.database.fetch(
        "INSERT INTO lock_entry (resource_id, seq, task_id, exclusive, granted)"
        " SELECT resource_id, nextval('lock_seq'), task_id, exclusive, false FROM lock_entry,"
        " generate_series(1, 998) WHERE task_id = %s::uuid AND NOT granted RETURNING 1",
        (template,),
    )
    thousandth = core.create(SYNC)
    beyond = core.create(SYNC)

    assert explain(core, thousandth.name).blocked_by[0].place == 1_000
    found = explain(core, beyond.name)
    assert found.blocked_by[0].place == 1_001
    assert "there are more than 1,000 before it" in found.sentences[0]


def test_beats_without_progress(core: Core, plugin: FakePlugin) -> None:
    """A plugin that only shows that it lives is seen through: since when nothing has moved."""
    silent = threading.Event()

    def execute(_request: object, _context: object) -> Events:
        heartbeat = plugin_tasks_pb2.ExecuteResponse(heartbeat=plugin_tasks_pb2.Heartbeat())
        while not silent.wait(0.2):
            yield heartbeat
        yield completed()

    plugin.execute = execute
    with running_dispatch(core.config):
        task = core.create(SYNC)
        until(lambda: core.read(task.name).state == Task.STATE_RUNNING, "the task to run")
        shift(core, task.name, created_at=7200, ready_at=7200, started_at=7200)

        found = explain(core, task.name)

        assert "It has told of no progress since it started, 2 h" in "\n".join(found.sentences)
        assert not found.HasField("progress_time")
        silent.set()
        core.read(task.name, wait=30)


def test_progress_that_stopped(core: Core, plugin: FakePlugin) -> None:
    """Of a counter that has stood still, the time is told and no rate is."""
    with running_dispatch(core.config):
        task = core.create(SYNC)
        until(lambda: bool(core.read(task.name).progress), "the task to say how far it is")
        moved = datetime.now(UTC) - timedelta(hours=3)
        stale = progress_pb2.Progress(code="a", done=1, total=9, remaining=8, rate=5)
        stale.change_time.FromDatetime(moved)
        stale.estimated_end_time.FromDatetime(moved)
        core.database.fetch("UPDATE progress SET counters = %s RETURNING 1",
                            ([stale.SerializeToString()],))  # fmt: skip

        found, (shown,) = explain(core, task.name), core.read(task.name).progress

        assert any(one.startswith("No progress since") for one in found.sentences)
        assert found.progress_time == stale.change_time
        assert (shown.remaining, shown.rate) == (8, 0)
        assert not shown.HasField("estimated_end_time")
        plugin.released.set()
        core.read(task.name, wait=30)


def test_a_task_that_is_over_says_what_became_of_it(core: Core, plugin: FakePlugin) -> None:
    """State, length, and why nothing changed, or would; it waits for nothing any more."""
    plugin.released.set()
    with running_dispatch(core.config):
        task = core.create(SYNC, wait=30)
        plan = core.create(SYNC, wait=30, dry_run=True)

    found = explain(core, task.name)

    assert found.state == Task.STATE_COMPLETED
    assert not found.blocked_by
    assert found.sentences[0].startswith("It completed")
    assert "Nothing changed in repositories/file/foo: " in found.sentences[1]
    assert (
        "Nothing would change in repositories/file/foo: " in explain(core, plan.name).sentences[1]
    )


@pytest.mark.parametrize(
    ("name", "code"),
    [("tasks/0190aaaa-0000-7000-8000-000000000000", Code.NOT_FOUND),
     ("tasks/why", Code.INVALID_ARGUMENT)],
)  # fmt: skip
def test_an_unknown_task(core: Core, name: str, code: Code) -> None:
    """A task that does not exist, and a name that is none, are refused as elsewhere."""
    with pytest.raises(ServiceError) as refused:
        explain(core, name)

    assert refused.value.code == code
