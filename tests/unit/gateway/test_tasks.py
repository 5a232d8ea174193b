"""Tasks over HTTP: creating, waiting, cloning, canceling, listing."""

import asyncio
from typing import Any

import pytest

from entrepot.core.v1 import plugin_service_pb2, repository_service_pb2, task_service_pb2
from entrepot_gateway.app import Api
from entrepot_rpc.errors import Code, ServiceError, Violation
from gateway_client import Client
from gateway_core import FakeCore
from gateway_declarations import a_plugin

Task = task_service_pb2.Task
Event = task_service_pb2.Event
NAME = "tasks/0190-1"


def a_task(state: int = Task.STATE_WAITING, **fields: Any) -> Task:  # noqa: ANN401  any field
    """A task of the zoo."""
    return Task(name=NAME, task_type="zoo/feedings", state=state, **fields)  # type: ignore[arg-type]


def events(*kinds: int, first: int = 1, task: str = NAME) -> task_service_pb2.WatchEventsResponse:
    """A batch of events of one task."""
    return task_service_pb2.WatchEventsResponse(
        events=[
            Event(sequence=number, task=task, kind=kind)  # type: ignore[arg-type]
            for number, kind in enumerate(kinds, first)
        ]
    )


def echo(request: task_service_pb2.CreateTaskRequest) -> task_service_pb2.CreateTaskResponse:
    """Create what was asked for."""
    task = a_task(dry_run=request.dry_run, request_id=request.request_id)
    task.parameters.CopyFrom(request.parameters)
    return task_service_pb2.CreateTaskResponse(task=task)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (
            {"content-type": "application/json"},
            b'{"repository": "/api/v3/repositories/zoo/foo/", "importer": "bar"}',
        ),
        (
            {"content-type": "application/x-www-form-urlencoded"},
            b"repository=repositories/zoo/foo&importer=bar",
        ),
    ],
)
async def test_a_task_is_created(
    client: Client, core: FakeCore, headers: dict[str, str], body: bytes
) -> None:
    """The flat body is the parameters; 201, the address, and the task as body."""
    core.on("CreateTask", echo)

    answer = await client.request(
        "POST", "/api/v3/tasks/zoo/feedings/", headers=headers, body=[body]
    )

    assert answer.status == 201
    assert answer.headers["location"] == "/api/v3/tasks/0190-1/"
    assert answer.json["state"] == "waiting"
    assert answer.json["parameters"]["repository"] == "repositories/zoo/foo"
    assert answer.json["parameters"]["remote"] == "bar"
    assert core.last("CreateTask").parameters.type_url == "type.googleapis.com/acme.zoo.v1.Feeding"


async def test_options_are_in_the_query_and_the_header(client: Client, core: FakeCore) -> None:
    """dry_run, the priority and the idempotency key reach core beside the parameters."""
    core.on("CreateTask", echo)

    answer = await client.request(
        "POST",
        "/api/v3/tasks/zoo/feedings/?dry_run=true&priority=interactive",
        {"repository": "foo"},
        headers={"idempotency-key": '"key-1"'},
    )

    assert answer.json["dry_run"] is True
    assert core.last("CreateTask").request_id == "key-1"
    assert core.last("CreateTask").priority == Task.PRIORITY_INTERACTIVE


@pytest.mark.parametrize(
    ("path", "query", "body"),
    [
        ("tasks/zoo/feedings/", "?request_id=one", {"repository": "foo"}),
        ("repositories/zoo/", "?request_id=one", {"name": "foo"}),
        (
            "tasks/",
            "",
            {
                "parameters": {"@type": "acme.zoo.v1.Feeding", "repository": "a"},
                "request_id": "one",
            },
        ),
        ("tasks/0190-1/clones/", "?request_id=one", {}),
        ("tasks/0190-1/commits/", "", {"request_id": "one"}),
    ],
)
async def test_two_request_ids_that_differ_are_refused(
    client: Client, core: FakeCore, path: str, query: str, body: dict[str, Any]
) -> None:
    """A key in the header and another request_id: both are named; the same one twice is one."""
    core.on("CreateTask", echo)
    core.on("CloneTask", task_service_pb2.CloneTaskResponse(task=a_task()))
    core.on("CommitPlan", task_service_pb2.CommitPlanResponse(task=a_task()))

    core.on("CreateRepository", repository_service_pb2.CreateRepositoryResponse())

    path = f"/api/v3/{path}{query}"
    different = await client.request("POST", path, body, headers={"idempotency-key": "two"})
    same = await client.request("POST", path, body, headers={"idempotency-key": "one"})

    assert different.status == 400
    assert different.pointers == ["#/Idempotency-Key", "#/request_id"]
    assert "Idempotency-Key and request_id" in different.json["detail"]
    assert same.status == 201


@pytest.mark.parametrize(
    "path", ["/api/v3/tasks/?request_id=a", "/api/v3/tasks/0190-1/commits/?request_id=a"]
)
async def test_a_request_id_in_query_and_body(client: Client, core: FakeCore, path: str) -> None:
    """One in the query and another in the body are refused as well."""
    core.on("CommitPlan", task_service_pb2.CommitPlanResponse(task=a_task()))

    answer = await client.request("POST", path, {"request_id": "b"})

    assert answer.status == 400
    assert "#/request_id" in answer.pointers


@pytest.mark.parametrize(
    ("key", "status"),
    [
        ("two words", 201),
        ("h\u00e9", 201),
        ("x" * 128, 201),
        ("x" * 129, 400),
        ("", 400),
        ('""', 400),
        ("a\tb", 400),
    ],
)
async def test_a_key_has_the_form_of_a_request_id(
    client: Client, core: FakeCore, key: str, status: int
) -> None:
    """The header allows what core allows as request_id, and refuses what core would refuse."""
    core.on("CreateTask", echo)

    answer = await client.request(
        "POST",
        "/api/v3/tasks/zoo/feedings/",
        {"repository": "foo"},
        headers={"idempotency-key": key.encode().decode("latin-1")},
    )

    assert answer.status == status
    if status == 201:
        assert core.last("CreateTask").request_id == key


async def test_a_validated_task_is_not_created(client: Client, core: FakeCore) -> None:
    """validate_only answers 200 and no address."""
    core.on("CreateTask", echo)

    answer = await client.request(
        "POST", "/api/v3/tasks/zoo/feedings/?validate_only=1", {"repository": "foo"}
    )

    assert answer.status == 200
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("wait=-1", "#/wait"),
        ("wait=soon", "#/wait"),
        ("wait=11m", "#/wait"),
        ("wait=99999999999999999999", "#/wait"),
        ("wait=601", "#/wait"),
        ("wait=", "#/wait"),
        ("wait=1s&wait=2s", "#/wait"),
        ("dry_run=perhaps", "#/dry_run"),
        ("priority=urgent", "#/priority"),
        ("priority=-1", "#/priority"),
        ("mirror=true", "#/mirror"),
    ],
)
async def test_wrong_options_are_refused(client: Client, query: str, pointer: str) -> None:
    """Before anything is created."""
    answer = await client.request(
        "POST", f"/api/v3/tasks/zoo/feedings/?{query}", {"repository": "foo"}
    )

    assert answer.status == 400
    assert answer.pointers == [pointer]


async def test_an_option_in_the_body_is_explained(client: Client) -> None:
    """Whoever puts dry_run among the fields is told where it goes."""
    answer = await client.request(
        "POST", "/api/v3/tasks/zoo/feedings/", {"repository": "foo", "dry_run": True}
    )

    assert "?dry_run=" in answer.json["errors"][0]["detail"]


async def test_the_words_of_a_plugin_lead_into_the_body(client: Client, core: FakeCore) -> None:
    """What Validate finds wrong points at the field that was sent."""
    violation = Violation("parameters.cages[0].bars", "Too few.", "BARS_TOO_FEW")
    core.on(
        "CreateTask",
        ServiceError.of(
            Code.INVALID_ARGUMENT,
            "BARS_TOO_FEW",
            "Cages need bars.",
            domain="zoo.plugins.entrepot",
            violations=(violation,),
        ),
    )

    answer = await client.request("POST", "/api/v3/tasks/zoo/feedings/", {"repository": "foo"})

    assert answer.status == 400
    assert answer.json["domain"] == "zoo.plugins.entrepot"
    assert answer.json["errors"] == [
        {"pointer": "#/cages/0/bars", "reason": "BARS_TOO_FEW", "detail": "Too few."}
    ]


@pytest.mark.parametrize(
    ("path", "reason", "metadata"),
    [
        ("zo/feedings", "PLUGIN_UNKNOWN", {"plugin": "zo", "plugins": "zoo"}),
        (
            "zoo/feeding",
            "TASK_TYPE_UNKNOWN",
            {"task_type": "zoo/feeding", "plugins": "zoo", "collections": "feedings"},
        ),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_unknown_task_type_lists_those_there_are(
    client: Client, method: str, path: str, reason: str, metadata: dict[str, str]
) -> None:
    """404 with the plugins, or the collections of the plugin."""
    answer = await client.request(method, f"/api/v3/tasks/{path}/")

    assert answer.status == 404
    assert answer.json["reason"] == reason
    assert answer.json["metadata"] == metadata


@pytest.mark.parametrize(
    ("path", "task_type"), [("zoo/feedings/", "zoo/feedings"), ("zoo/", "zoo")]
)
async def test_a_task_type_is_a_collection(
    client: Client, core: FakeCore, path: str, task_type: str
) -> None:
    """It can be listed and filtered; all tasks of a plugin too."""
    core.on("ListTasks", task_service_pb2.ListTasksResponse(tasks=[a_task()]))

    answer = await client.request("GET", f"/api/v3/tasks/{path}?state=waiting")

    assert answer.json["results"][0]["href"] == "/api/v3/tasks/0190-1/"
    assert core.last("ListTasks").task_type == task_type
    assert core.last("ListTasks").state == Task.STATE_WAITING


async def test_parameters_may_say_what_they_are(client: Client, core: FakeCore) -> None:
    """POST to /tasks/ takes the message named by "@type"."""
    core.on("CreateTask", echo)
    document = {
        "parameters": {"@type": "acme.zoo.v1.Feeding", "repository": "foo"},
        "dry_run": True,
    }

    answer = await client.request("POST", "/api/v3/tasks/", document)

    assert answer.status == 201
    assert answer.json["dry_run"] is True
    assert answer.json["parameters"]["repository"] == "foo"


@pytest.mark.parametrize(
    ("document", "pointers"),
    [
        ({}, ["#/parameters"]),
        ({"parameters": {"@type": "a.B"}}, ["#/parameters/@type"]),
        ({"parameters": {"repository": "foo"}}, ["#/parameters"]),
        ({"parameters": {"@type": "acme.zoo.v1.Feeding"}}, ["#/parameters/repository"]),
    ],
)
async def test_parameters_must_be_of_a_known_type(
    client: Client, document: dict[str, Any], pointers: list[str]
) -> None:
    """Otherwise nobody could read them."""
    answer = await client.request("POST", "/api/v3/tasks/", document)

    assert answer.status == 400
    assert answer.pointers == pointers


async def test_a_waiting_client_gets_the_finished_task(
    client: Client,
    core: FakeCore,
    task_events: Any,  # noqa: ANN401  a class of the conftest
) -> None:
    """One stream of events ends the wait; no rpc of core is held for it."""
    read = asyncio.Event()
    states = [Task.STATE_RUNNING, Task.STATE_COMPLETED]

    def get(_: object) -> task_service_pb2.GetTaskResponse:
        read.set()
        return task_service_pb2.GetTaskResponse(task=a_task(states.pop(0), created_resource="r"))

    core.on("CreateTask", echo)
    core.on("GetTask", get)
    async with client.open(
        "POST", "/api/v3/tasks/zoo/feedings/?wait=30s", {"repository": "foo"}
    ) as exchange:
        await read.wait()
        task_events.send(events(Event.KIND_STARTED, Event.KIND_PROGRESSED, Event.KIND_COMPLETED))
        await exchange.finish()

    assert exchange.answer.status == 201
    assert exchange.answer.json["state"] == "completed"
    assert core.count("GetTask") == 2
    assert not core.last("CreateTask").HasField("wait")
    assert not core.last("GetTask").HasField("wait")


async def test_a_wait_ends_when_the_time_is_up(client: Client, core: FakeCore) -> None:
    """The task as it is then; it goes on."""
    core.on("CreateTask", echo)
    core.on("GetTask", task_service_pb2.GetTaskResponse(task=a_task(Task.STATE_RUNNING)))

    answer = await client.request(
        "POST", "/api/v3/tasks/zoo/feedings/?wait=20ms", {"repository": "foo"}
    )

    assert answer.status == 201
    assert answer.json["state"] == "running"


async def test_a_wait_outlives_a_restart_of_core(client: Client, core: FakeCore) -> None:
    """The task was created: that core does not answer for a while does not make that an error."""
    core.on("CreateTask", echo)
    answers = [
        ServiceError.of(Code.UNAVAILABLE, "DATABASE_UNAVAILABLE", "Gone."),
        task_service_pb2.GetTaskResponse(task=a_task(Task.STATE_COMPLETED)),
    ]
    core.on("GetTask", lambda _: answers.pop(0))

    answer = await client.request(
        "POST", "/api/v3/tasks/zoo/feedings/?wait=30s", {"repository": "foo"}
    )

    assert answer.status == 201
    assert answer.json["state"] == "completed"


async def test_reading_can_wait_too(client: Client, core: FakeCore) -> None:
    """GET with wait answers at once if the task is over."""
    core.on("GetTask", task_service_pb2.GetTaskResponse(task=a_task(Task.STATE_CANCELED)))

    answer = await client.request("GET", "/api/v3/tasks/0190-1/?wait=10m")

    assert answer.json["state"] == "canceled"


async def test_a_task_is_canceled(client: Client, core: FakeCore) -> None:
    """PATCH with the one state that can be asked for."""
    core.on("CancelTask", task_service_pb2.CancelTaskResponse(task=a_task(cancel_requested=True)))

    answer = await client.request("PATCH", "/api/v3/tasks/0190-1/", {"state": "canceled"})

    assert answer.status == 200
    assert core.last("CancelTask").name == NAME
    assert core.last("CancelTask").state == Task.STATE_CANCELED


@pytest.mark.parametrize("document", [{"state": "completed"}, {}, {"priority": 1}])
async def test_a_task_cannot_be_changed_otherwise(
    client: Client, document: dict[str, Any]
) -> None:
    """Anything else is refused."""
    assert (await client.request("PATCH", "/api/v3/tasks/0190-1/", document)).status == 400


async def test_a_task_is_cloned_with_overrides(client: Client, core: FakeCore) -> None:
    """Named fields replace the earlier ones, also by their default value."""
    core.on("GetTask", task_service_pb2.GetTaskResponse(task=a_task(Task.STATE_FAILED)))
    core.on("CloneTask", task_service_pb2.CloneTaskResponse(task=a_task(cloned_from=NAME)))

    answer = await client.request(
        "POST",
        "/api/v3/tasks/0190-1/clones/?dry_run=true",
        {"importer": "other", "happy": False},
        headers={"idempotency-key": "k"},
    )

    request = core.last("CloneTask")
    assert answer.status == 201
    assert answer.json["cloned_from"] == NAME
    assert list(request.override_paths) == ["remote", "happy"]
    assert request.overrides.type_url == "type.googleapis.com/acme.zoo.v1.Feeding"
    assert (request.dry_run, request.request_id) == (True, "k")


async def test_a_task_is_cloned_as_it_was(client: Client, core: FakeCore) -> None:
    """Without a body nothing is replaced, and core is asked once."""
    core.on("CloneTask", task_service_pb2.CloneTaskResponse(task=a_task()))

    answer = await client.request("POST", "/api/v3/tasks/0190-1/clones/")

    assert answer.status == 201
    assert not core.last("CloneTask").HasField("overrides")
    assert core.count("GetTask") == 0


async def test_a_clone_knows_the_fields_of_its_task(client: Client, core: FakeCore) -> None:
    """An unknown field is named as in the task's own collection."""
    core.on("GetTask", task_service_pb2.GetTaskResponse(task=a_task()))

    answer = await client.request("POST", "/api/v3/tasks/0190-1/clones/", {"hapy": True})

    assert answer.pointers == ["#/hapy"]
    assert "Did you mean happy?" in answer.json["detail"]


async def test_a_plugin_comes_and_goes_without_a_restart(
    client: Client, core: FakeCore, app: Api
) -> None:
    """Its task types are there, in routes and in OpenAPI, as long as core says so."""
    core.on("CreateTask", echo)
    path = "/api/v3/tasks/aquarium/feedings/"
    before = await client.request("POST", path, {"repository": "foo"})
    both = plugin_service_pb2.WatchPluginsResponse(declarations=[a_plugin(), a_plugin("aquarium")])

    app.plugins.receive(both)
    while_there = await client.request("POST", path, {"repository": "foo"})
    openapi = await client.request("GET", "/api/v3/openapi.json")
    app.plugins.receive(plugin_service_pb2.WatchPluginsResponse(declarations=[a_plugin()]))
    after = await client.request("POST", path, {"repository": "foo"})
    openapi_after = await client.request("GET", "/api/v3/openapi.json")

    assert [before.status, while_there.status, after.status] == [404, 201, 404]
    assert while_there.json["parameters"]["repository"] == "foo"
    assert path in openapi.json["paths"]
    assert path not in openapi_after.json["paths"]


async def test_a_plugin_registered_a_moment_ago_is_waited_for(
    client: Client, core: FakeCore, app: Api
) -> None:
    """Core knows it already and its declaration is on the way: the request waits."""
    core.on("CreateTask", echo)
    both = plugin_service_pb2.WatchPluginsResponse(declarations=[a_plugin(), a_plugin("aquarium")])

    def get(_: object) -> plugin_service_pb2.GetPluginResponse:
        asyncio.get_running_loop().call_soon(app.plugins.receive, both)
        return plugin_service_pb2.GetPluginResponse()

    core.on("GetPlugin", get)
    answer = await client.request("POST", "/api/v3/tasks/aquarium/feedings/", {"repository": "f"})

    assert answer.status == 201


async def test_a_plugin_that_cannot_be_read_disturbs_no_other(
    client: Client, core: FakeCore, app: Api
) -> None:
    """A declaration that names a message it has not is left out."""
    core.on("CreateTask", echo)
    broken = a_plugin("broken")
    broken.task_types[0].parameters_message = "acme.broken.v1.Nothing"

    app.plugins.receive(plugin_service_pb2.WatchPluginsResponse(declarations=[broken, a_plugin()]))
    good = await client.request("POST", "/api/v3/tasks/zoo/feedings/", {"repository": "foo"})
    bad = await client.request("POST", "/api/v3/tasks/broken/feedings/", {"repository": "foo"})

    assert (good.status, bad.status) == (201, 404)


async def test_an_absorbed_request_is_answered_with_200(client: Client, core: FakeCore) -> None:
    """The task was there: 200, its place, and how many it has answered."""
    core.on(
        "CreateTask",
        task_service_pb2.CreateTaskResponse(
            task=Task(name="tasks/0190-1", absorbed_requests=2), absorbed=True
        ),
    )

    parameters = {"@type": "acme.zoo.v1.Feeding", "repository": "foo"}
    answer = await client.request("POST", "/api/v3/tasks/?absorb=true", {"parameters": parameters})

    assert core.last("CreateTask").absorb
    assert (answer.status, answer.headers["location"]) == (200, "/api/v3/tasks/0190-1/")
    assert answer.json["absorbed_requests"] == 2
