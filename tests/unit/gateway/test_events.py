"""Server-sent events: of one task and of all, resumable, and the hub behind them."""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest

from entrepot.core.v1 import task_service_pb2
from entrepot_gateway.app import Api
from entrepot_gateway.events import BACKLOG, EventHub
from entrepot_rpc.errors import Code, ServiceError
from gateway_client import Client
from gateway_core import FakeCore

Task = task_service_pb2.Task
Event = task_service_pb2.Event
NAME = "tasks/0190-1"
PATH = "/api/v3/tasks/0190-1/events/"


def a_batch(*items: tuple[int, Any, str]) -> task_service_pb2.WatchEventsResponse:
    """Events of number, kind and task."""
    return task_service_pb2.WatchEventsResponse(
        events=[Event(sequence=n, kind=kind, task=task) for n, kind, task in items]
    )


def parse(text: str) -> list[tuple[str, str, Any]]:
    """Kind, number and data of each event."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in block.splitlines() if not line.startswith(":")
        )
        if fields:
            found.append((fields["event"], fields.get("id", ""), json.loads(fields["data"])))
    return found


@pytest.fixture
def state(core: FakeCore) -> dict[str, Any]:
    """The state that core says the task is in."""
    state: dict[str, Any] = {"is": Task.STATE_WAITING}
    core.on(
        "GetTask",
        lambda request: task_service_pb2.GetTaskResponse(
            task=Task(name=request.name, state=state["is"])
        ),
    )
    return state


async def test_a_task_is_followed_to_its_end(
    client: Client,
    state: dict[str, Any],
    task_events: Any,  # noqa: ANN401
) -> None:
    """Its state now, every change with the task as data, and then the stream ends."""
    async with client.open("GET", PATH) as exchange:
        first = parse(await exchange.next())
        state["is"] = Task.STATE_RUNNING
        task_events.send(
            a_batch((7, Event.KIND_STARTED, NAME), (8, Event.KIND_STARTED, "tasks/2"))
        )
        second = parse(await exchange.next())
        state["is"] = Task.STATE_COMPLETED
        task_events.send(
            a_batch(
                (9, Event.KIND_PROGRESSED, NAME),
                (10, Event.KIND_PROGRESSED, NAME),
                (11, Event.KIND_COMPLETED, NAME),
            )
        )
        await exchange.finish()

    assert exchange.answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert [(kind, data["state"]) for kind, _, data in first] == [("created", "waiting")]
    assert [(kind, number) for kind, number, _ in second] == [("started", "7")]
    rest = parse(exchange.answer.body.decode())[2:]
    assert [(kind, number) for kind, number, _ in rest] == [
        ("progressed", "10"),
        ("completed", "11"),
    ]
    assert rest[-1][2]["href"] == "/api/v3/tasks/0190-1/"


async def test_nothing_is_told_after_the_end(
    app: Api, client: Client, state: dict[str, Any]
) -> None:
    """A counter that is numbered late does not keep the stream open."""
    app.hub.receive(
        a_batch(
            (1, Event.KIND_CREATED, NAME),
            (2, Event.KIND_COMPLETED, NAME),
            (3, Event.KIND_PROGRESSED, NAME),
        )
    )
    state["is"] = Task.STATE_COMPLETED

    answer = await client.request("GET", PATH, headers={"last-event-id": "1"})

    assert [kind for kind, _, _ in parse(answer.body.decode())] == ["completed"]


async def test_a_finished_task_is_told_and_no_more(client: Client, state: dict[str, Any]) -> None:
    """One event, then the end."""
    state["is"] = Task.STATE_FAILED

    answer = await client.request("GET", PATH)

    assert [kind for kind, _, _ in parse(answer.body.decode())] == ["failed"]
    assert answer.complete


async def test_a_client_resumes_where_it_was(
    app: Api, client: Client, state: dict[str, Any]
) -> None:
    """With Last-Event-ID it gets what it missed, without what it has."""
    app.hub.receive(
        a_batch(
            (1, Event.KIND_CREATED, NAME),
            (2, Event.KIND_STARTED, NAME),
            (3, Event.KIND_COMPLETED, NAME),
        )
    )
    state["is"] = Task.STATE_COMPLETED

    answer = await client.request("GET", PATH, headers={"last-event-id": "1"})

    assert [(kind, number) for kind, number, _ in parse(answer.body.decode())] == [
        ("started", "2"),
        ("completed", "3"),
    ]


async def test_a_client_that_has_all_is_not_asked_back(
    app: Api, client: Client, state: dict[str, Any]
) -> None:
    """After the last event 204 ends the browser's attempts."""
    app.hub.receive(a_batch((1, Event.KIND_CREATED, NAME), (3, Event.KIND_COMPLETED, NAME)))
    state["is"] = Task.STATE_COMPLETED

    assert (await client.request("GET", PATH, headers={"last-event-id": "3"})).status == 204


async def forgotten(_: object) -> Any:  # noqa: ANN401  a stream
    """Core has collected what is asked for."""
    yield task_service_pb2.WatchEventsResponse()
    raise ServiceError.of(
        Code.OUT_OF_RANGE,
        "EVENT_OUT_OF_RANGE",
        "No longer kept.",
        metadata={"oldest": "590", "newest": "600"},
    )


@pytest.mark.usefixtures("task_events")
async def test_an_event_that_is_too_old_is_replaced_by_the_state(
    app: Api, client: Client, core: FakeCore, state: dict[str, Any]
) -> None:
    """What core no longer has is covered by the task as it is now."""
    core.on("WatchEvents", forgotten)
    app.hub.receive(a_batch((500, Event.KIND_COMPLETED, NAME)))
    state["is"] = Task.STATE_COMPLETED

    answer = await client.request("GET", PATH, headers={"last-event-id": "3"})

    assert [(kind, number) for kind, number, _ in parse(answer.body.decode())] == [
        ("completed", "500")
    ]


@pytest.mark.parametrize("number", ["x", "-1", "9" * 19, "1.5", str(2**63), "1" * 5000])
async def test_a_number_that_is_none_is_refused(client: Client, number: str) -> None:
    """The number of an event has at most 64 bits, in the header and in the address."""
    answer = await client.request("GET", PATH, headers={"last-event-id": number})
    other = await client.request("GET", f"{PATH}?after={number}")

    assert (answer.status, other.status) == (400, 400)
    assert (answer.pointers, other.pointers) == (["#/Last-Event-ID"], ["#/after"])
    assert [one.json["errors"][0]["in"] for one in (answer, other)] == ["header", "query"]


@pytest.mark.parametrize("number", [str(10**18), str(2**63 - 1), f"{600:030}"])
async def test_a_number_from_the_future_begins_anew(
    app: Api, client: Client, core: FakeCore, number: str
) -> None:
    """However many digits it has: the stream of all tasks begins with `reset`."""
    core.on("ListTasks", task_service_pb2.ListTasksResponse())
    app.hub.receive(a_batch((500, Event.KIND_CREATED, NAME)))
    unknown = ServiceError.of(
        Code.OUT_OF_RANGE,
        "EVENT_OUT_OF_RANGE",
        "There is no such event yet.",
        metadata={"oldest": "1", "newest": "500"},
    )
    core.on("WatchEvents", unknown)

    headers = {"last-event-id": number}
    async with client.open("GET", "/api/v3/events/", headers=headers) as exchange:
        told = await exchange.until("newest")
        await exchange.leave()

    assert "event: reset" in told


async def test_a_browser_that_was_given_a_start_comes_back_with_both(
    app: Api, client: Client, core: FakeCore
) -> None:
    """The header, which is newer than the address, decides."""
    core.on("ListTasks", task_service_pb2.ListTasksResponse())
    app.hub.receive(a_batch(*((n, Event.KIND_CREATED, f"tasks/{n}") for n in range(1, 5))))

    headers = {"last-event-id": "3"}
    async with client.open("GET", "/api/v3/events/?after=1", headers=headers) as exchange:
        told = parse(await exchange.until("tasks/4"))
        await exchange.leave()

    assert [number for _, number, _ in told] == ["4"]


async def test_a_task_that_is_not_there_has_no_events(client: Client, core: FakeCore) -> None:
    """404 before the stream begins."""
    core.on("GetTask", ServiceError.of(Code.NOT_FOUND, "RESOURCE_NOT_FOUND", "No."))

    assert (await client.request("GET", PATH)).status == 404


async def test_all_events_are_followed(
    client: Client,
    core: FakeCore,
    task_events: Any,  # noqa: ANN401
) -> None:
    """In order, of every task; the stream has no end of its own."""
    core.on("ListTasks", task_service_pb2.ListTasksResponse())

    async with client.open("GET", "/api/v3/events/") as exchange:
        await exchange.next()
        task_events.send(
            a_batch((1, Event.KIND_CREATED, NAME), (2, Event.KIND_CREATED, "tasks/2"))
        )
        text = await exchange.until("tasks/2")
        await exchange.leave()

    assert [(kind, number, data["task"]) for kind, number, data in parse(text)] == [
        ("created", "1", NAME),
        ("created", "2", "tasks/2"),
    ]
    assert parse(text)[0][2]["href"] == "/api/v3/tasks/0190-1/"


@pytest.mark.usefixtures("task_events")
async def test_all_events_are_resumed_from_core_if_need_be(
    app: Api, client: Client, core: FakeCore
) -> None:
    """What the hub no longer has comes from core, then the hub goes on, without gap or repeat."""
    core.on("ListTasks", task_service_pb2.ListTasksResponse())

    async def old(request: task_service_pb2.WatchEventsRequest) -> Any:  # noqa: ANN401  a stream
        for number in range(request.after_sequence + 1, 8):
            yield a_batch((number, Event.KIND_CREATED, f"tasks/{number}"))

    core.on("WatchEvents", old)
    app.hub.receive(a_batch((6, Event.KIND_CREATED, "tasks/6")))

    async with client.open("GET", "/api/v3/events/", headers={"last-event-id": "3"}) as exchange:
        text = await exchange.until("tasks/6")
        app.hub.receive(a_batch((7, Event.KIND_CREATED, "tasks/7")))
        text += await exchange.until("tasks/7")
        await exchange.leave()

    assert [number for _, number, _ in parse(text)] == ["4", "5", "6", "7"]


@pytest.mark.usefixtures("task_events")
async def test_events_that_core_no_longer_has_are_a_gap_that_is_told(
    app: Api, client: Client, core: FakeCore
) -> None:
    """The client hears of the gap and where the log stands, and then what happens from now on."""
    core.on("ListTasks", task_service_pb2.ListTasksResponse())
    core.on("WatchEvents", forgotten)
    app.hub.receive(a_batch((600, Event.KIND_CREATED, NAME)))

    async with client.open("GET", "/api/v3/events/?after=3") as exchange:
        await exchange.next()
        told = parse(await exchange.next())
        app.hub.receive(a_batch((601, Event.KIND_CREATED, NAME)))
        then = parse(await exchange.next())
        await exchange.leave()

    message = {"message": "No longer kept.", "oldest": 590, "newest": 600}
    assert told == [("reset", "600", message)]
    assert [number for _, number, _ in then] == ["601"]


@pytest.mark.usefixtures("task_events")
async def test_a_crowd_that_comes_back_asks_core_once(
    app: Api, client: Client, core: FakeCore
) -> None:
    """After a restart all resume from what one stream of core's brings, without gap or repeat."""
    core.on("ListTasks", task_service_pb2.ListTasksResponse())

    async def old(request: task_service_pb2.WatchEventsRequest) -> Any:  # noqa: ANN401  a stream
        yield task_service_pb2.WatchEventsResponse(last_sequence=9)
        for number in range(request.after_sequence + 1, 10):
            yield a_batch((number, Event.KIND_CREATED, f"tasks/{number}"))
        await asyncio.Event().wait()

    app.hub.receive(task_service_pb2.WatchEventsResponse(last_sequence=9))
    core.on("WatchEvents", old)
    before = core.count("WatchEvents")

    async def resume() -> list[str]:
        headers = {"last-event-id": "4"}
        async with client.open("GET", "/api/v3/events/", headers=headers) as exchange:
            text = await exchange.until("tasks/9")
            await exchange.leave()
        return [number for _, number, _ in parse(text)]

    assert await asyncio.gather(*(resume() for _ in range(20))) == [list("56789")] * 20
    assert core.count("WatchEvents") == before + 1


async def test_a_client_that_does_not_read_is_left(
    app: Api, client: Client, core: FakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent to it must leave within a time; then nothing is kept for it any more."""
    monkeypatch.setattr("entrepot_gateway.sse.STALLED_SECONDS", 0.01)
    core.on("ListTasks", task_service_pb2.ListTasksResponse())

    async with client.open("GET", "/api/v3/events/", reads=False) as exchange:
        await exchange.finish()

    assert app.hub._of_all == set()


async def test_followers_of_one_task_share_its_reading(
    client: Client,
    core: FakeCore,
    state: dict[str, Any],
    task_events: Any,  # noqa: ANN401
) -> None:
    """After an event the task is read once, however many follow it."""
    async with AsyncExitStack() as stack:
        exchanges = [await stack.enter_async_context(client.open("GET", PATH)) for _ in range(10)]
        for exchange in exchanges:
            await exchange.next()
        before = core.count("GetTask")
        state["is"] = Task.STATE_COMPLETED
        task_events.send(a_batch((7, Event.KIND_COMPLETED, NAME)))
        for exchange in exchanges:
            await exchange.finish()

    assert core.count("GetTask") == before + 1
    assert {parse(one.answer.body.decode())[-1][0] for one in exchanges} == {"completed"}


async def test_an_end_that_no_event_tells_is_seen(
    client: Client, state: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever follows a task looks now and then, as events may fail to come."""
    monkeypatch.setattr("entrepot_gateway.sse.KEEP_ALIVE_SECONDS", 0.01)

    async with client.open("GET", PATH) as exchange:
        await exchange.until("waiting")
        state["is"] = Task.STATE_COMPLETED
        await exchange.finish()

    assert parse(exchange.answer.body.decode())[-1][2]["state"] == "completed"


async def test_the_hub_begins_anew_when_core_has_forgotten(app: Api) -> None:
    """Away for longer than events are kept: everybody looks, and it follows from now on."""
    app.hub.receive(a_batch((600, Event.KIND_CREATED, NAME)))
    with app.hub.listen(NAME) as listener:
        app.hub.broken(grpc.StatusCode.OUT_OF_RANGE)

        assert listener.missed
        assert app.hub.last is None
        assert app.hub.since(599) is None


async def test_streams_end_when_the_gateway_does(
    app: Api, client: Client, state: dict[str, Any]
) -> None:
    """SIGTERM need not wait for those who listen for ever."""
    async with client.open("GET", PATH) as exchange:
        await exchange.next()
        app.end_streams()
        await exchange.finish()

    assert exchange.answer.complete


async def test_the_hub_resumes_after_the_last_event(
    app: Api,
    core: FakeCore,
    task_events: Any,  # noqa: ANN401
) -> None:
    """When core comes back, it is asked for what happened since."""
    with app.hub.follow() as follower:
        task_events.send(a_batch((41, Event.KIND_CREATED, NAME)))
        assert await follower.wait(20)
    task_events.connected.clear()

    await core.stop()
    await core.start()
    await task_events.connected.wait()

    assert [request.after_sequence for request in task_events.requests] == [-1, 41]


async def test_a_slow_listener_is_told_to_look(app: Api) -> None:
    """It costs bounded memory, and knows that it has missed something."""
    with app.hub.listen(NAME) as listener:
        for number in range(BACKLOG + 1):
            app.hub.receive(a_batch((number, Event.KIND_PROGRESSED, NAME)))

        assert await listener.wait(0) == []
        assert listener.missed


async def test_a_hub_that_lost_its_first_stream_makes_all_look(app: Api) -> None:
    """Without a number to resume after, nobody can know what was missed."""
    hub = EventHub(app._core)
    with hub.listen(NAME) as listener:
        hub.broken()

        assert listener.missed


async def test_a_listener_leaves_nothing_behind(app: Api) -> None:
    """After the last one of a task has gone, the hub has forgotten the task."""
    with app.hub.listen(NAME), app.hub.listen(NAME):
        pass

    assert app.hub._by_task == {}


async def test_who_creates_and_waits_reads_once_the_task_has_ended(
    client: Client, app: Api, core: FakeCore, state: dict[str, Any]
) -> None:
    """An end that is told while core still answers the POST is not missed, and read once."""
    app.hub.receive(a_batch((1, Event.KIND_STARTED, "tasks/2")))

    def create(request: task_service_pb2.CreateTaskRequest) -> task_service_pb2.CreateTaskResponse:
        app.hub.receive(a_batch((2, Event.KIND_COMPLETED, NAME)))
        state["is"] = Task.STATE_COMPLETED
        return task_service_pb2.CreateTaskResponse(task=Task(name=NAME))

    core.on("CreateTask", create)

    answer = await client.request(
        "POST", "/api/v3/tasks/zoo/feedings/?wait=30s", {"repository": "foo"}
    )

    assert answer.json["state"] == "completed"
    assert core.count("GetTask") == 1
