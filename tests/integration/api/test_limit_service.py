"""LimitService over gRPC, and priorities of tasks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core_under_test import (
    Core,
    a_config,
    a_remote,
    a_repository,
    errors_of_core,
    running_api,
)
from entrepot.core.v1 import limit_service_pb2 as pb
from entrepot.core.v1 import task_service_pb2, tasks_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot_rpc.errors import Code, ServiceError
from fake_plugin import FakePlugin
from queues import a_dispatcher, claim

Task = task_service_pb2.Task


@pytest.fixture
def core(core_dsn: str, tmp_path: Path) -> Iterator[Core]:
    """An api with a plugin, two repositories and a remote; nobody runs tasks."""
    plugin = FakePlugin().start()
    with running_api(a_config(core_dsn, tmp_path)) as core:
        core.register(plugin)
        for name in ("foo", "baz"):
            a_repository(core.database, name)
        a_remote(core.database)
        yield core
    plugin.stop()


def a_limit(core: Core, name: str = "syncs", **fields: Any) -> pb.Limit:  # noqa: ANN401  fields
    """A new limit: of one sync unless said otherwise."""
    limit = pb.Limit(name=name, **{"task_type": "file/syncs", "max_running": 1, **fields})
    with errors_of_core():
        return core.limits.CreateLimit(
            pb.CreateLimitRequest(limit=limit), metadata=core.metadata, timeout=20
        ).limit


def updated(core: Core, limit: pb.Limit, *mask: str) -> pb.Limit:
    """A limit with new values."""
    request = pb.UpdateLimitRequest(limit=limit)
    request.update_mask.paths.extend(mask)
    with errors_of_core():
        return core.limits.UpdateLimit(request, metadata=core.metadata, timeout=20).limit


def test_a_limit_is_made_read_changed_listed_and_deleted(core: Core) -> None:
    """Its name is the user's, its etag changes with it, and it goes."""
    made = a_limit(core, description="Be kind to upstreams.", max_running=4)

    changed = updated(core, pb.Limit(name=made.name, max_running=2, etag=made.etag))
    listed = core.limits.ListLimits(pb.ListLimitsRequest(), metadata=core.metadata, timeout=20)
    core.limits.DeleteLimit(
        pb.DeleteLimitRequest(name=made.name), metadata=core.metadata, timeout=20
    )

    assert (made.name, made.max_running, made.running_tasks) == ("limits/syncs", 4, 0)
    assert (changed.max_running, changed.description) == (2, "Be kind to upstreams.")
    assert changed.etag != made.etag
    assert list(listed.limits) == [changed]
    with pytest.raises(ServiceError) as caught, errors_of_core():
        core.limits.GetLimit(
            pb.GetLimitRequest(name=made.name), metadata=core.metadata, timeout=20
        )
    assert caught.value.code == Code.NOT_FOUND


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"max_running": 0}, "limit.max_running"),
        ({"max_running": -1}, "limit.max_running"),
        ({"max_running": 2_000_000}, "limit.max_running"),
        ({"name": "no/such/name"}, "limit.name"),
        ({"name": ""}, "limit.name"),
        ({"task_type": "file/nonsense"}, "limit.task_type"),
        ({"task_type": ""}, "limit"),
        ({"repository_label": "=web"}, "limit.repository_label"),
        ({"repository_label": "team=web,tier=1"}, "limit.repository_label"),
        ({"repository_label": " team"}, "limit.repository_label"),
        ({"repository_label": "team=\0"}, "limit.repository_label"),
        ({"repository_label": "t" * 129}, "limit.repository_label"),
        ({"description": "x" * 5000}, "limit.description"),
    ],
)
def test_a_limit_that_cannot_be_is_refused(core: Core, fields: dict[str, Any], field: str) -> None:
    """Whatever is wrong with it, the field is named and nothing is kept."""
    with pytest.raises(ServiceError) as caught:
        a_limit(core, **fields)

    assert caught.value.code == Code.INVALID_ARGUMENT
    assert field in [one.field for one in caught.value.violations]
    assert core.database.fetch("SELECT * FROM task_limit") == []


def test_a_name_is_taken_once(core: Core) -> None:
    """A second limit of a name is refused, and the first stays as it is."""
    first = a_limit(core)

    with pytest.raises(ServiceError) as caught:
        a_limit(core, max_running=7)

    assert caught.value.reason == "NAME_TAKEN"
    assert updated(core, pb.Limit(name=first.name)).max_running == 1


def test_a_change_that_leaves_no_purpose_is_refused(core: Core) -> None:
    """A limit always says what it counts; a stale etag changes nothing."""
    made = a_limit(core)

    with pytest.raises(ServiceError) as empty:
        updated(core, pb.Limit(name=made.name), "task_type")
    updated(core, pb.Limit(name=made.name, max_running=3))
    with pytest.raises(ServiceError) as stale:
        updated(core, pb.Limit(name=made.name, max_running=9, etag=made.etag))

    assert empty.value.code == Code.INVALID_ARGUMENT
    assert stale.value.reason == "ETAG_MISMATCH"


def test_what_waits_for_a_limit_says_so(core: Core) -> None:
    """A task behind a full limit names it; when the limit is gone, it may start."""
    limit = a_limit(core)
    core.create(file_pb2.Sync(repository="foo", remote="bar"))
    last = core.create(file_pb2.Sync(repository="baz", remote="bar"))
    dispatcher = a_dispatcher(core.database)
    claim(core.database, dispatcher, 10)

    blocked = core.read(last.name).blocked_by
    core.limits.DeleteLimit(
        pb.DeleteLimitRequest(name=limit.name), metadata=core.metadata, timeout=20
    )

    assert [(one.cause, one.resource) for one in blocked] == [
        (Task.Blocker.CAUSE_LIMIT, "limits/syncs")
    ]
    assert (
        "As many tasks run as limits/syncs, set by an operator, allows: 1." == blocked[0].message
    )
    assert [f"tasks/{one.task_id}" for one in claim(core.database, dispatcher, 10)] == [last.name]


def test_a_task_has_the_priority_that_was_asked_for(core: Core) -> None:
    """Unless said it is normal, of core's housekeeping background; a clone has its origin's."""
    plain = core.create(file_pb2.Sync(repository="foo", remote="bar"))
    urgent = core.create(
        file_pb2.Sync(repository="foo", remote="bar"), priority=Task.PRIORITY_INTERACTIVE
    )
    orphans = core.create(tasks_pb2.CollectOrphans())
    with errors_of_core():
        clone = core.tasks.CloneTask(
            task_service_pb2.CloneTaskRequest(name=urgent.name), metadata=core.metadata, timeout=20
        ).task

    assert [one.priority for one in (plain, urgent, orphans, clone)] == [
        Task.PRIORITY_NORMAL,
        Task.PRIORITY_INTERACTIVE,
        Task.PRIORITY_BACKGROUND,
        Task.PRIORITY_INTERACTIVE,
    ]
    assert urgent.effective_priority == urgent.priority


@pytest.mark.parametrize("priority", [99, -1])
def test_a_priority_there_is_not_is_refused(core: Core, priority: int) -> None:
    """It is named, and no task is made."""
    with pytest.raises(ServiceError) as caught:
        core.create(file_pb2.Sync(repository="foo", remote="bar"), priority=priority)

    assert [one.field for one in caught.value.violations] == ["priority"]
    assert core.database.fetch("SELECT * FROM task") == []


def test_a_request_id_stands_for_a_priority_too(core: Core) -> None:
    """The same request with another priority is another request."""
    sync = file_pb2.Sync(repository="foo", remote="bar")
    core.create(sync, request_id="once", priority=Task.PRIORITY_BACKGROUND)

    with pytest.raises(ServiceError) as caught:
        core.create(sync, request_id="once", priority=Task.PRIORITY_INTERACTIVE)

    assert caught.value.reason == "REQUEST_ID_REUSED"
