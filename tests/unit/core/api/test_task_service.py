"""TaskService: names, waits, parameters and filters, and how a task is shown."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf import any_pb2
from google.rpc import status_pb2

from declarations import FILE, file_plugin
from entrepot.core.v1 import difference_pb2, task_service_pb2, task_service_pb2_grpc
from entrepot.plugins.file.v1 import file_pb2
from entrepot.type.v1 import diagnostic_pb2, progress_pb2
from entrepot.type.v1.unit_failure_pb2 import UnitFailure
from entrepot_core.api.at_once import AtOnce
from entrepot_core.api.blocking import blockers
from entrepot_core.api.event_log import EventLog, Watch
from entrepot_core.api.paging import write_token
from entrepot_core.api.task_creator import Order, TaskCreator
from entrepot_core.api.task_message import EVENT_KINDS, STATES, event_message, task_message
from entrepot_core.api.task_service import MAX_WAITING, TaskService, read_name
from entrepot_core.plugins.client import Clients
from entrepot_core.plugins.parameters import ParameterReader
from entrepot_core.store.events import EventRow
from entrepot_core.store.tasks import LostAttempt, TaskRow
from unconnected_core import (
    AUTHENTICATOR,
    DeclaredPlugins,
    Servicing,
    fields,
    no_cursor,
    no_database,
    pack,
    refusal,
)

Task = task_service_pb2.Task
ID = "0199f0c2-7a51-7c3e-9d2b-5f0a4b6c7d8e"
NAME = f"tasks/{ID}"
REGISTRY = DeclaredPlugins(file_plugin())
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)


@pytest.fixture
def servicer() -> Iterator[TaskService]:
    """The servicer, with a plugin for files that nobody can call."""
    database, registry = no_database(), REGISTRY

    def wake() -> None:
        """Nobody waits for work."""

    reader = ParameterReader(database, registry, Clients())
    at_once = AtOnce(database, registry, noted=wake, served_changed=wake)
    creator = TaskCreator(database, registry, reader, wake, at_once)
    log = EventLog(database, wake)
    yield TaskService(database, registry, creator, log, wake, AUTHENTICATOR.principal_of)
    log.close()


@pytest.fixture
def servicing(servicer: TaskService) -> Servicing:
    """Calls it."""
    return Servicing(
        task_service_pb2.DESCRIPTOR.services_by_name["TaskService"],
        task_service_pb2_grpc.add_TaskServiceServicer_to_server,
        servicer,
    )


@pytest.mark.parametrize("given", [NAME, ID, ID.upper(), f"/api/v3/{NAME}/", f" {NAME} "])
def test_a_task_is_named_in_many_ways(given: str) -> None:
    """Id, name and path mean the same."""
    assert ID == read_name(given)


@pytest.mark.parametrize("method", ["GetTask", "CancelTask", "CloneTask"])
@pytest.mark.parametrize("name", ["", "tasks/", "tasks/1", f"{ID}/x", f"tasks/{ID}0", "tasks/\0"])
def test_what_is_no_name_is_refused(servicing: Servicing, method: str, name: str) -> None:
    """Every method refuses it under its field."""
    request = getattr(task_service_pb2, f"{method}Request")(name=name)

    error = refusal(lambda: servicing.call(method, request))

    assert ("FIELD_INVALID", ["name"]) == (error.reason, fields(error))


def test_a_watch_needs_a_name(servicing: Servicing) -> None:
    """A stream is refused as a call is."""
    request = task_service_pb2.WatchTaskRequest(name="tasks/1")

    error = refusal(lambda: servicing.read("WatchTask", request))

    assert ["name"] == fields(error)


@pytest.mark.parametrize("method", ["GetTask", "CreateTask"])
@pytest.mark.parametrize("nanoseconds", [-1, -(10**9), 600 * 10**9 + 1, 10**20])
def test_nobody_waits_for_ever(servicing: Servicing, method: str, nanoseconds: int) -> None:
    """A wait that is negative or longer than ten minutes is refused."""
    request = getattr(task_service_pb2, f"{method}Request")()
    if method == "GetTask":
        request.name = NAME
    request.wait.seconds, request.wait.nanos = divmod(nanoseconds, 10**9)

    error = refusal(lambda: servicing.call(method, request))

    assert ("FIELD_INVALID", ["wait"]) == (error.reason, fields(error))


def test_lines_are_of_an_attempt_that_can_be(servicing: Servicing) -> None:
    """No attempt has a number below zero."""
    request = task_service_pb2.ListTaskLogsRequest(parent=NAME, attempt=-1)

    error = refusal(lambda: servicing.call("ListTaskLogs", request))

    assert ["attempt"] == fields(error)


@pytest.mark.parametrize("state", [s for s in Task.State.values() if s != Task.STATE_CANCELED])
def test_canceled_is_the_only_state_to_ask_for(servicing: Servicing, state: Any) -> None:  # noqa: ANN401  an enum's value
    """Nobody but core completes a task."""
    request = task_service_pb2.CancelTaskRequest(name=NAME, state=state)

    error = refusal(lambda: servicing.call("CancelTask", request))

    assert ["state"] == fields(error)


@pytest.mark.parametrize(
    ("given", "reason", "field"),
    [
        ({"page_size": 1001}, "FIELD_INVALID", ["page_size"]),
        ({"page_token": "!"}, "QUERY_INVALID", ["page_token"]),
        ({"page_token": write_token("x")}, "QUERY_INVALID", ["page_token"]),
        ({"page_token": write_token(f"urn:uuid:{ID}")}, "QUERY_INVALID", ["page_token"]),
        ({"page_token": write_token(ID)}, "DATABASE_UNAVAILABLE", []),
    ],
)
def test_a_page_is_asked_for_rightly(
    servicing: Servicing, given: dict[str, object], reason: str, field: list[str]
) -> None:
    """Only a token as a page gave it gets as far as the database."""
    request = task_service_pb2.ListTasksRequest(**given)  # type: ignore[arg-type]

    error = refusal(lambda: servicing.call("ListTasks", request))

    assert (reason, field) == (error.reason, fields(error))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"state": 99}, "state"),
        ({"cloned_from": "x"}, "cloned_from"),
        ({"resource": "foo"}, "resource"),
        ({"resource": "repositories/file"}, "resource"),
        ({"resource": "tasks/file/foo"}, "resource"),
        ({"resource": "repositories/file/a\0"}, "resource"),
        ({"created_resource": "!"}, "created_resource"),
        ({"created_resource": "repositories/file/foo/versions/latest"}, "created_resource"),
        ({"created_resource": "remotes/file/foo/versions/1"}, "created_resource"),
    ],
)
def test_a_list_is_filtered_by_what_there_is(
    servicer: TaskService, given: dict[str, Any], field: str
) -> None:
    """States that are none and tasks that are none are refused under their field."""
    request = task_service_pb2.ListTasksRequest(**given)

    error = refusal(lambda: servicer._filter(request))

    assert [field] == fields(error)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("", ""),
        ("/api/v3/repositories/file/foo/", "repositories/file/foo"),
        ("http://a.test/api/v3/remotes/file/bar/", "remotes/file/bar"),
        ("repositories/file/foo@3", "repositories/file/foo/versions/3"),
        (f"publications/file/{ID}", f"publications/file/{ID}"),
        ("core/orphans", "core/orphans"),
    ],
)
def test_a_resource_is_filtered_by_in_any_spelling(
    servicer: TaskService, given: str, name: str
) -> None:
    """Names, addresses and versions are understood, and what core's own tasks lock."""
    request = task_service_pb2.ListTasksRequest(resource=given, created_resource=given)

    found = servicer._filter(request)

    assert (name, name) == (found.resource, found.created_resource)


@pytest.mark.parametrize(
    ("given", "task_type", "plugin"), [("file/syncs", "file/syncs", ""), ("file", "", "file")]
)
def test_a_plugin_stands_for_all_its_types(
    servicer: TaskService, given: str, task_type: str, plugin: str
) -> None:
    """A task type has a slash, and without one it is a plugin."""
    found = servicer._filter(task_service_pb2.ListTasksRequest(task_type=given))

    assert (task_type, plugin) == (found.task_type, found.plugin)


@pytest.mark.parametrize(
    ("parameters", "reason", "field"),
    [
        (any_pb2.Any(), "TASK_TYPE_UNKNOWN", []),
        (any_pb2.Any(type_url="type.googleapis.com/a.B"), "TASK_TYPE_UNKNOWN", []),
        (pack(file_pb2.File()), "TASK_TYPE_UNKNOWN", []),
        (pack(file_pb2.Sync(remote="bar")), "FIELD_INVALID", ["repository"]),
        (pack(file_pb2.Sync(repository="rpm/foo", remote="b")), "FIELD_INVALID", ["repository"]),
        (pack(file_pb2.Sync(repository="http://[", remote="b")), "FIELD_INVALID", ["repository"]),
        (
            any_pb2.Any(type_url=pack(file_pb2.Sync()).type_url, value=b"\xff"),
            "FIELD_INVALID",
            ["parameters"],
        ),
    ],
)
@pytest.mark.parametrize("validate_only", [False, True])
def test_parameters_are_checked_first(
    servicing: Servicing,
    parameters: any_pb2.Any,
    reason: str,
    field: list[str],
    validate_only: bool,
) -> None:
    """Types, fields and names in parameters are refused before anything is looked up."""
    request = task_service_pb2.CreateTaskRequest(
        parameters=parameters, validate_only=validate_only
    )

    error = refusal(lambda: servicing.call("CreateTask", request))

    assert (reason, field) == (error.reason, fields(error))


@pytest.mark.parametrize("validate_only", [False, True])
@pytest.mark.parametrize("given", ["x" * 129, "a\nb", " a", "a ", " "])
def test_a_request_id_has_a_form(servicing: Servicing, given: str, *, validate_only: bool) -> None:
    """What cannot be one is refused under its field, also where nothing is stored."""
    request = task_service_pb2.CreateTaskRequest(
        request_id=given,
        validate_only=validate_only,
        parameters=pack(file_pb2.Sync(repository="foo", remote="b")),
    )

    error = refusal(lambda: servicing.call("CreateTask", request))

    assert ["request_id"] == fields(error)


def test_a_request_is_known_again() -> None:
    """Equal requests have one digest, and what makes a difference makes another."""
    sync = pack(file_pb2.Sync(repository="foo"))
    elsewhere = any_pb2.Any(type_url=f"elsewhere.test/{FILE}.Sync", value=sync.value)
    orders = [
        Order(parameters=sync, principal="a"),
        Order(parameters=pack(file_pb2.Sync(repository="fop")), principal="a"),
        Order(parameters=pack(file_pb2.Add(repository="foo")), principal="a"),
        Order(parameters=sync, principal="a", is_dry_run=True),
        Order(parameters=sync, principal="a", cloned_from=ID),
    ]

    digests = [order.digest(order.parameters.value) for order in orders]

    assert len(orders) == len(set(digests))
    again = Order(parameters=elsewhere, principal="b", request_id="r", absorbs=True)
    assert digests[0] == again.digest(elsewhere.value)


def test_places_are_bounded(servicer: TaskService, servicing: Servicing) -> None:
    """Who finds all places taken is told to come back, and takes no thread."""
    for _ in range(MAX_WAITING):
        servicer._waiting.acquire()
    request = task_service_pb2.GetTaskRequest(name=NAME)
    request.wait.seconds = 1

    error = refusal(lambda: servicing.call("GetTask", request))

    assert ("RESOURCE_EXHAUSTED", "TOO_MANY_WAITING") == (error.code.name, error.reason)
    assert error.retry_after_seconds == 5


def test_a_place_is_given_back_after_a_failure(
    servicer: TaskService, servicing: Servicing
) -> None:
    """However a wait ends, the next one finds room."""
    waiting = task_service_pb2.GetTaskRequest(name=NAME)
    waiting.wait.seconds = 1

    refusal(lambda: servicing.call("GetTask", waiting))

    assert MAX_WAITING == servicer._waiting._value
    assert {} == servicer._log._watches


def a_task(**given: object) -> TaskRow:
    """A task that waits, of which little is known."""
    known: dict[str, object] = {
        "task_id": ID,
        "task_type": "file/syncs",
        "executor": "file",
        "state": "waiting",
        "waits_for": 0,
        "parked": False,
        "priority": 1,
        "effective_priority": 1,
        "attempt": 0,
        "cancel_requested": False,
        "is_repeatable": True,
        "is_dry_run": False,
        "changed": None,
        "created_resource": "",
        "cloned_from": None,
        "created_at": MOMENT,
        "not_before": None,
        "started_at": None,
        "ended_at": None,
        "principal": "admin",
        "request_id": "",
        "declaration_id": 1,
        "parameters_type": "a.B",
        "parameters": b"p",
        "result_type": "",
        "result": b"",
        "error": None,
        "differences": [],
        "counters": [],
        "warnings": [],
    }
    return TaskRow(**{**known, **given})  # type: ignore[arg-type]


def test_a_new_task_shows_what_it_was_asked() -> None:
    """What is not known yet is absent, and not zero."""
    message = task_message(a_task(resources=["repositories/file/foo"]))

    expected = Task(
        name=NAME,
        task_type="file/syncs",
        state=Task.STATE_WAITING,
        parameters=any_pb2.Any(type_url="type.googleapis.com/a.B", value=b"p"),
        resources=["repositories/file/foo"],
        principal="admin",
        priority=Task.PRIORITY_NORMAL,
        effective_priority=Task.PRIORITY_NORMAL,
        on_failure=UnitFailure.POLICY_STRICT,
    )
    expected.create_time.FromDatetime(MOMENT)
    assert expected == message


def test_a_finished_task_shows_everything() -> None:
    """Result, progress, differences, lost attempts and times are in the message."""
    progress = progress_pb2.Progress(code="sync", done=3)
    warning = diagnostic_pb2.Diagnostic(message="careful")
    difference = difference_pb2.Difference()
    row = a_task(
        state="completed",
        attempt=2,
        changed=True,
        created_resource="repositories/file/foo/versions/1",
        cloned_from=ID,
        started_at=MOMENT,
        ended_at=LATER,
        request_id="r",
        is_dry_run=True,
        result_type="a.R",
        result=b"r",
        counters=[progress.SerializeToString()],
        warnings=[warning.SerializeToString()],
        differences=[difference.SerializeToString()],
        lost_attempts=[LostAttempt(1, "went away", True, None, MOMENT)],
    )

    message = task_message(row)

    lost = Task.Attempt(number=1, reason="went away", counted=True)
    lost.end_time.FromDatetime(MOMENT)
    assert [lost] == list(message.lost_attempts)
    assert ([progress], [warning]) == (list(message.progress), list(message.warnings))
    assert [difference] == list(message.differences)
    assert any_pb2.Any(type_url="type.googleapis.com/a.R", value=b"r") == message.result
    assert (True, True, NAME, "r") == (
        message.changed,
        message.dry_run,
        message.cloned_from,
        message.request_id,
    )
    assert (MOMENT, LATER) == (
        message.start_time.ToDatetime(UTC),
        message.end_time.ToDatetime(UTC),
    )


def test_a_failed_task_shows_its_error() -> None:
    """The status as it was stored is the error."""
    error = status_pb2.Status(code=9, message="no")

    message = task_message(a_task(state="failed", error=error.SerializeToString()))

    assert (Task.STATE_FAILED, error) == (message.state, message.error)
    assert not message.HasField("changed")


def test_a_task_that_never_began_has_no_time_of_start() -> None:
    """A task that was canceled while it waited has ended without a start."""
    message = task_message(a_task(state="canceled", started_at=MOMENT, ended_at=MOMENT))

    assert (False, True) == (message.HasField("start_time"), message.HasField("end_time"))


def test_every_state_and_kind_has_a_number() -> None:
    """Nothing that is stored shows as unspecified, and no two show alike."""
    assert set(Task.State.values()) - {0} == set(STATES.values())
    kinds = task_service_pb2.Event.Kind.values()
    assert set(kinds) - {0} == set(EVENT_KINDS.values())


@pytest.mark.parametrize("kind", list(EVENT_KINDS))
def test_an_event_is_shown_whole(kind: str) -> None:
    """Number, task, kind and time are in the message."""
    message = event_message(EventRow(7, ID, kind, MOMENT))

    expected = task_service_pb2.Event(sequence=7, task=NAME, kind=EVENT_KINDS[kind])
    expected.time.FromDatetime(MOMENT)
    assert expected == message


@pytest.mark.parametrize(
    "row",
    [a_task(state="running"), a_task(state="completed", waits_for=1)],
)
def test_what_does_not_wait_is_not_blocked(row: TaskRow) -> None:
    """A task that runs or is over waits for nothing, without a look-up."""
    assert [] == blockers(no_cursor(), row)


def test_a_task_that_backs_off_says_until_when() -> None:
    """The reason of the attempt that was lost last is told with the time of the next."""
    row = a_task(
        parked=True,
        not_before=MOMENT,
        lost_attempts=[LostAttempt(1, "It went away.", True, None, MOMENT)],
    )

    (blocker,) = blockers(no_cursor(), row)

    assert Task.Blocker.CAUSE_BACK_OFF == blocker.cause
    assert "The next attempt starts at 2026-01-02 03:04:05 UTC. It went away." == blocker.message


@pytest.mark.parametrize(
    ("kind", "has_ended"),
    [
        ("started", False),
        ("progressed", False),
        ("lost", False),
        ("completed", True),
        ("failed", True),
        ("canceled", True),
    ],
)
def test_a_watch_knows_the_end(kind: str, has_ended: bool) -> None:
    """Only what ends a task is an end, and an older event does not take the number back."""
    watch = Watch()
    watch.tell(EventRow(7, ID, kind, MOMENT))
    watch.tell(EventRow(5, ID, "started", MOMENT))

    happened = watch.wait(0)

    assert (True, False, 7, has_ended) == (happened, watch.wait(0), watch.last, watch.has_ended)
