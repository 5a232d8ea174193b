"""TaskService over gRPC, without a dispatcher: tasks are created, and wait."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import duration_pb2

from core_under_test import (
    Core,
    a_config,
    a_remote,
    a_repository,
    errors_of_core,
    pack,
    running_api,
    running_dispatch,
)
from entrepot.core.v1 import plugin_service_pb2, task_service_pb2
from entrepot.plugin.v1 import plugin_tasks_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot.type.v1 import diagnostic_pb2
from entrepot_rpc.errors import Code, ServiceError
from fake_plugin import FakePlugin
from polling import until

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


def listed(core: Core, **fields: Any) -> list[str]:  # noqa: ANN401  fields of the request
    """Names of the tasks that a list has."""
    request = task_service_pb2.ListTasksRequest(**fields)
    with errors_of_core():
        response = core.tasks.ListTasks(request, metadata=core.metadata, timeout=20)
    return [task.name for task in response.tasks]


def test_a_new_task_waits_with_its_locks(core: Core) -> None:
    """A created task has full names, locks both resources, and says what blocks the next."""
    first = core.create(SYNC)
    second = core.create(SYNC)

    assert (first.state, first.task_type) == (Task.STATE_WAITING, "file/syncs")
    assert list(first.resources) == ["remotes/file/bar", "repositories/file/foo"]
    assert [(one.cause, one.resource, one.task) for one in second.blocked_by] == [
        (Task.Blocker.CAUSE_HELD, "repositories/file/foo", first.name)
    ]


@pytest.mark.parametrize(
    ("parameters", "code", "field"),
    [
        (file_pb2.Sync(remote="bar"), Code.INVALID_ARGUMENT, "repository"),
        (file_pb2.Sync(repository="none", remote="bar"), Code.NOT_FOUND, "repository"),
        (file_pb2.Sync(repository="foo", remote="none"), Code.NOT_FOUND, "remote"),
        (
            file_pb2.Sync(repository="remotes/file/bar", remote="bar"),
            Code.INVALID_ARGUMENT,
            "repository",
        ),
        (file_pb2.Copy(source="foo@7", repository="foo", all=True), Code.NOT_FOUND, "source"),
        (file_pb2.Copy(source="foo", repository="foo"), Code.INVALID_ARGUMENT, "content"),
        (
            file_pb2.Add(repository="foo", content=["nonsense"]),
            Code.INVALID_ARGUMENT,
            "content[0]",
        ),
        (
            file_pb2.Add(repository="foo", content=[f"content/file/files/{'0' * 64}"]),
            Code.NOT_FOUND,
            "content[0]",
        ),
        (file_pb2.Upload(repository="foo", upload="1"), Code.INVALID_ARGUMENT, "upload"),
        (
            file_pb2.Upload(repository="foo", upload="0199f0c2-7a51-7c3e-9d2b-5f0a4b6c7d8e"),
            Code.NOT_FOUND,
            "upload",
        ),
    ],
    ids=lambda value: "",
)
def test_bad_parameters_are_refused_with_their_field(
    core: Core, parameters: file_pb2.Sync, code: Code, field: str
) -> None:
    """What is missing, malformed or absent is named by field, and nothing is stored."""
    with pytest.raises(ServiceError) as caught:
        core.create(parameters)

    assert caught.value.code == code
    assert [field] == [violation.field for violation in caught.value.violations]
    assert listed(core) == []


def test_an_unknown_type_is_refused(core: Core) -> None:
    """Parameters that no plugin declares name no task type."""
    with pytest.raises(ServiceError, match="No plugin has a task") as caught:
        core.create(diagnostic_pb2.Diagnostic())

    assert caught.value.reason == "TASK_TYPE_UNKNOWN"


def test_the_plugin_may_refuse(core: Core, plugin: FakePlugin) -> None:
    """Errors of Validate answer the request, with the plugin's reason and domain."""
    plugin.validation.diagnostics.add(
        severity=diagnostic_pb2.Diagnostic.SEVERITY_ERROR,
        reason="URL_INVALID",
        message="must be http.",
        field="remote",
    )

    with pytest.raises(ServiceError) as caught:
        core.create(SYNC)

    assert (caught.value.reason, caught.value.domain) == ("URL_INVALID", "file.plugins.entrepot")
    assert caught.value.violations[0].field == "remote"


def test_the_plugin_may_fill_in_and_warn(core: Core, plugin: FakePlugin) -> None:
    """Normalized parameters and warnings of Validate are stored with the task."""
    filled = file_pb2.Sync(
        repository="repositories/file/foo", remote="remotes/file/bar", mirror=True
    )
    plugin.validation.CopyFrom(
        plugin_tasks_pb2.ValidateResponse(
            normalized_parameters=pack(filled),
            diagnostics=[
                diagnostic_pb2.Diagnostic(
                    severity=diagnostic_pb2.Diagnostic.SEVERITY_WARNING,
                    reason="ODD",
                    message="Odd.",
                )
            ],
        )
    )

    task = core.create(SYNC)

    assert pack(filled) == task.parameters
    assert [one.reason for one in task.warnings] == ["ODD"]


def test_a_plugin_that_is_down_refuses(core: Core, plugin: FakePlugin) -> None:
    """Without its plugin a task is refused for now, and nothing is stored."""
    plugin.stop()

    with pytest.raises(ServiceError) as caught:
        core.create(SYNC)

    assert (caught.value.code, caught.value.reason) == (Code.UNAVAILABLE, "PLUGIN_UNAVAILABLE")
    assert caught.value.retry_after_seconds


@pytest.fixture
def frugal(plugin: FakePlugin, core: Core) -> FakePlugin:
    """The plugin, which now declares that core can check all its tasks alone."""
    for declared in plugin.declaration.task_types:
        declared.validated_by_core = True
    plugin.declaration.declaration_digest = "frugal"
    core.register(plugin)
    return plugin


def test_what_core_can_check_alone_is_not_asked(core: Core, frugal: FakePlugin) -> None:
    """With validated_by_core the plugin is not called; what is absent is refused all the same."""
    core.create(SYNC)

    for parameters, field in (
        (file_pb2.Sync(repository="foo", remote="none"), "remote"),
        (file_pb2.Copy(source="foo@7", repository="foo", all=True), "source"),
        (file_pb2.Add(repository="foo", content=[f"content/file/files/{'0' * 64}"]), "content[0]"),
    ):
        with pytest.raises(ServiceError) as caught:
            core.create(parameters)
        assert caught.value.code == Code.NOT_FOUND
        assert [field] == [violation.field for violation in caught.value.violations]
    assert len(listed(core)) == 1
    assert frugal.validated == []


def test_a_request_id_is_kept_by_what_core_checks_alone(core: Core, frugal: FakePlugin) -> None:
    """The request id of a request that was refused is free again; then it makes one task."""
    with pytest.raises(ServiceError, match="There is no remotes/file/none"):
        core.create(file_pb2.Sync(repository="foo", remote="none"), request_id="1")

    made = {core.create(SYNC, request_id="1").name for _ in range(2)}

    assert listed(core) == list(made)
    assert frugal.validated == []


def test_a_plugin_that_is_down_is_asked_nevertheless(core: Core, frugal: FakePlugin) -> None:
    """Once it is known to be down, its tasks are refused, though core could check them alone."""
    frugal.stop()

    def refusal() -> str | None:
        try:
            core.create(SYNC)
        except ServiceError as error:
            return error.reason
        return None

    assert until(refusal, "a refusal") == "PLUGIN_UNAVAILABLE"


def test_validate_only_stores_nothing(core: Core, plugin: FakePlugin) -> None:
    """With validate_only the task is returned without a name, and is not there."""
    task = core.create(SYNC, validate_only=True)

    assert (task.name, task.task_type) == ("", "file/syncs")
    assert len(plugin.validated) == 1
    assert listed(core) == []


def test_a_request_id_makes_one_task(core: Core) -> None:
    """The same request again returns the same task; another one with its id is refused."""
    first = core.create(SYNC, request_id="1")
    again = core.create(SYNC, request_id="1")

    assert first.name == again.name
    with pytest.raises(ServiceError) as caught:
        core.create(file_pb2.Sync(repository="foo", remote="bar", mirror=True), request_id="1")
    assert caught.value.reason == "REQUEST_ID_REUSED"


def test_a_request_is_the_same_however_it_names_a_resource(core: Core, plugin: FakePlugin) -> None:
    """A name, its address and its last segment are one request, also once its plugin is down."""
    named = file_pb2.Sync(repository="repositories/file/foo", remote="remotes/file/bar")
    addressed = file_pb2.Sync(
        repository="/api/v3/repositories/file/foo/", remote="http://a.test/api/v3/remotes/file/bar"
    )
    first = core.create(SYNC, request_id="1")

    again = {core.create(one, request_id="1").name for one in (SYNC, named, addressed)}

    assert again == {first.name}
    assert len(plugin.validated) == 1
    with pytest.raises(ServiceError) as caught:
        core.create(file_pb2.Sync(repository="foo", remote="baz"), request_id="1")
    assert caught.value.reason == "REQUEST_ID_REUSED"
    plugin.stop()
    assert core.create(addressed, request_id="1").name == first.name


def test_a_request_is_known_again_without_its_plugin(core: Core) -> None:
    """Sent again as it was, with names in full, it needs nobody who understands it."""
    named = file_pb2.Sync(repository="repositories/file/foo", remote="remotes/file/bar")
    first = core.create(named, request_id="1")
    core.cancel(first.name)
    core.plugins.DeletePlugin(
        plugin_service_pb2.DeletePluginRequest(name="plugins/file"),
        metadata=core.metadata,
        timeout=20,
    )

    assert core.create(named, request_id="1").name == first.name


def test_concurrent_requests_with_one_id_make_one_task(core: Core) -> None:
    """Five clients that retry at once get one task."""
    names: list[str] = []
    threads = [
        threading.Thread(target=lambda: names.append(core.create(SYNC, request_id="x").name))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(names) == 5
    assert len(set(names)) == 1


def test_lists_are_filtered_and_paged(core: Core) -> None:
    """Newest first; by state, type, plugin, resource and origin; page by page without a gap."""
    made = [core.create(SYNC).name for _ in range(5)]
    core.cancel(made[0])
    request = task_service_pb2.CloneTaskRequest(name=made[1])
    clone = core.tasks.CloneTask(request, metadata=core.metadata, timeout=20).task.name
    everything = [clone, *made[::-1]]

    assert listed(core) == everything
    assert listed(core, state=Task.STATE_CANCELED) == [made[0]]
    assert listed(core, task_type="file/syncs") == everything
    assert listed(core, task_type="file") == everything
    assert listed(core, task_type="file/adds") == []
    assert listed(core, resource="repositories/file/foo") == everything
    assert listed(core, cloned_from=made[1]) == [clone]
    pages: list[str] = []
    token = ""
    while True:
        response = core.tasks.ListTasks(
            task_service_pb2.ListTasksRequest(page_size=4, page_token=token),
            metadata=core.metadata,
            timeout=20,
        )
        pages += [task.name for task in response.tasks]
        token = response.next_page_token
        if not token:
            break
    assert pages == everything


def test_a_waiting_task_is_canceled_at_once(core: Core) -> None:
    """A canceled task is over, keeps the reason, and frees the next; again changes nothing."""
    first, second = core.create(SYNC), core.create(SYNC)

    assert core.cancel(first.name).state == Task.STATE_CANCELED
    assert core.cancel(first.name).state == Task.STATE_CANCELED
    assert core.read(first.name).error.code == Code.CANCELLED
    assert core.read(second.name).blocked_by == []


def test_a_clone_takes_overrides(core: Core) -> None:
    """A clone has the earlier parameters, but for the fields that are set or named."""
    task = core.create(file_pb2.Sync(repository="foo", remote="bar", mirror=True))

    def clone(**fields: Any) -> file_pb2.Sync:  # noqa: ANN401  as above
        request = task_service_pb2.CloneTaskRequest(name=task.name, **fields)
        cloned = core.tasks.CloneTask(request, metadata=core.metadata, timeout=20).task
        assert cloned.cloned_from == task.name
        sync = file_pb2.Sync()
        cloned.parameters.Unpack(sync)
        return sync

    a_remote(core.database, "other")
    assert clone().mirror
    assert clone(overrides=pack(file_pb2.Sync(remote="other"))).remote == "remotes/file/other"
    assert not clone(override_paths=["mirror"]).mirror


def test_waiting_ends_with_the_task(core: Core) -> None:
    """A call that waits returns as soon as the task is over, or when its time is up."""
    task = core.create(SYNC)
    assert core.read(task.name, wait=0.2).state == Task.STATE_WAITING

    with running_dispatch(core.config):
        assert core.read(task.name, wait=30).state == Task.STATE_COMPLETED


def test_watching_sees_every_state(core: Core) -> None:
    """A watch begins with the task as it is, goes on with each change, and ends with the task."""
    task = core.create(SYNC)
    request = task_service_pb2.WatchTaskRequest(name=task.name)
    stream = core.tasks.WatchTask(request, metadata=core.metadata, timeout=60)
    first = next(stream)

    with running_dispatch(core.config):
        later = list(stream)

    assert first.task.state == Task.STATE_WAITING
    assert later[-1].task.state == Task.STATE_COMPLETED
    sequences = [one.sequence for one in later]
    assert sequences == sorted(set(sequences))


def test_events_are_without_gap_and_resumable(core: Core) -> None:
    """The log of all tasks has numbers without gaps, each task's in order, from any place on."""
    with running_dispatch(core.config):
        tasks = [core.create(SYNC) for _ in range(5)]
        for task in tasks:
            assert core.read(task.name, wait=30).state == Task.STATE_COMPLETED
        followed = follow(core, 0, 15)
        resumed = follow(core, followed[6].sequence, 8)

    numbers = [event.sequence for event in followed]
    assert numbers == list(range(numbers[0], numbers[0] + 15))
    assert [event.sequence for event in resumed] == numbers[7:]
    for task in tasks:
        assert [event.kind for event in followed if event.task == task.name] == [
            task_service_pb2.Event.KIND_CREATED,
            task_service_pb2.Event.KIND_STARTED,
            task_service_pb2.Event.KIND_COMPLETED,
        ]


def follow(core: Core, after: int, count: int) -> list[task_service_pb2.Event]:
    """The next events after a number."""
    request = task_service_pb2.WatchEventsRequest(after_sequence=after)
    stream = core.tasks.WatchEvents(request, metadata=core.metadata, timeout=30)
    events: list[task_service_pb2.Event] = []
    for response in stream:
        events += response.events
        if len(events) >= count:
            break
    stream.cancel()
    return events


def test_many_watchers_delay_nobody(core: Core) -> None:
    """With a hundred open watches and waits, creating a task takes as long as ever."""
    task = core.create(SYNC)
    request = task_service_pb2.WatchTaskRequest(name=task.name)
    streams = [
        core.tasks.WatchTask(request, metadata=core.metadata, timeout=60) for _ in range(100)
    ]
    for stream in streams:
        next(stream)
    waits = [
        core.tasks.GetTask.future(
            task_service_pb2.GetTaskRequest(
                name=task.name, wait=duration_pb2.Duration(seconds=60)
            ),
            metadata=core.metadata,
            timeout=60,
        )
        for _ in range(100)
    ]

    created = core.tasks.CreateTask(
        task_service_pb2.CreateTaskRequest(parameters=pack(SYNC)),
        metadata=core.metadata,
        timeout=10,
    )

    assert created.task.state == Task.STATE_WAITING
    connections = core.database.fetch(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    )[0][0]
    assert connections < 45
    core.cancel(task.name)
    assert all(one.result().task.state == Task.STATE_CANCELED for one in waits)
    assert all(list(stream)[-1].task.state == Task.STATE_CANCELED for stream in streams)


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, grpc.StatusCode.UNAUTHENTICATED),
        ("Bearer wrong", grpc.StatusCode.UNAUTHENTICATED),
        ("Bearer content-token-of-a-test", grpc.StatusCode.PERMISSION_DENIED),
        ("Attempt admin-token-of-a-test", grpc.StatusCode.PERMISSION_DENIED),
    ],
)
def test_a_token_is_needed(core: Core, authorization: str | None, code: grpc.StatusCode) -> None:
    """Without the API's token nothing is answered."""
    metadata = (("authorization", authorization),) if authorization else ()

    with pytest.raises(grpc.RpcError) as caught:
        core.tasks.ListTasks(task_service_pb2.ListTasksRequest(), metadata=metadata, timeout=20)

    assert caught.value.code() == code
