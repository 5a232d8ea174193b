"""A request may be answered with a task that waits and would do the same."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from blocking import is_awaited
from core_under_test import (
    Core,
    a_config,
    a_remote,
    a_repository,
    errors_of_core,
    pack,
    running_api,
)
from entrepot.core.v1 import task_service_pb2
from entrepot.plugins.file.v1 import file_pb2
from entrepot.type.v1.unit_failure_pb2 import UnitFailure
from entrepot_core.store.engine_check import check_engine
from entrepot_rpc.errors import ServiceError
from fake_plugin import FakePlugin
from polling import until

Task = task_service_pb2.Task
SYNC = file_pb2.Sync(repository="foo", remote="bar")
COPY = file_pb2.Copy(source="foo", repository="baz", all=True)


@pytest.fixture
def core(core_dsn: str, tmp_path: Path) -> Iterator[Core]:
    """An api with a plugin, repositories foo and baz, and a remote bar; nobody runs tasks."""
    plugin = FakePlugin().start()
    with running_api(a_config(core_dsn, tmp_path)) as core:
        core.register(plugin)
        a_repository(core.database)
        a_repository(core.database, "baz")
        a_remote(core.database)
        yield core
        assert list(check_engine(core.database)) == []
    plugin.stop()


def ask(
    core: Core,
    parameters: Message,
    **fields: Any,  # noqa: ANN401  of the request
) -> task_service_pb2.CreateTaskResponse:
    """The answer to a request that may be absorbed."""
    request = task_service_pb2.CreateTaskRequest(
        parameters=pack(parameters), **({"absorb": True} | fields)
    )
    with errors_of_core():
        return core.tasks.CreateTask(request, metadata=core.metadata, timeout=30)


@pytest.mark.parametrize("parameters", [SYNC, COPY], ids=["exclusive", "shared"])
def test_what_waits_and_would_do_the_same_answers(core: Core, parameters: Message) -> None:
    """The second request gets the first one's task, which counts it."""
    first = core.create(parameters)

    answer = ask(core, parameters)

    assert (answer.absorbed, answer.task.name) == (True, first.name)
    assert answer.task.absorbed_requests == 1
    assert not ask(core, parameters, absorb=False).absorbed


@pytest.mark.parametrize(
    ("parameters", "fields"),
    [
        (file_pb2.Sync(repository="foo", remote="bar", mirror=True), {}),
        (SYNC, {"dry_run": True}),
        (SYNC, {"priority": Task.PRIORITY_INTERACTIVE}),
        (SYNC, {"on_failure": UnitFailure.POLICY_KEEP_GOING}),
    ],
    ids=["parameters", "dry run", "priority", "policy"],
)
def test_what_would_do_something_else_does_not(
    core: Core, parameters: Message, fields: dict[str, Any]
) -> None:
    """Other parameters, a plan, another priority or policy make a task of their own."""
    first = core.create(SYNC)

    answer = ask(core, parameters, **fields)

    assert not answer.absorbed
    assert answer.task.name != first.name


def test_a_change_in_between_is_not_forgotten(core: Core) -> None:
    """A copy that was asked for after a change of its source is not answered by one before."""
    first = core.create(COPY)
    core.create(SYNC)

    second = ask(core, COPY)
    third = ask(core, COPY)

    assert (second.absorbed, second.task.name != first.name) == (False, True)
    assert (third.absorbed, third.task.name) == (True, second.task.name)


def test_a_task_that_is_being_claimed_does_not(core: Core) -> None:
    """The request waits for the claim, and then makes a task of its own."""
    first = core.create(SYNC)
    answers: list[task_service_pb2.CreateTaskResponse] = []
    with core.database.transaction() as cursor:
        cursor.execute("UPDATE task SET state = 'running', attempt = 1, started_at = now()")
        asking = threading.Thread(target=lambda: answers.append(ask(core, SYNC)))
        asking.start()
        until(
            lambda: is_awaited(core.database, cursor.connection), "the request to wait for the row"
        )
    asking.join(30)
    with core.database.transaction() as cursor:
        cursor.execute("UPDATE task SET state = 'waiting', attempt = 0 WHERE state = 'running'")

    assert [(one.absorbed, one.task.name == first.name) for one in answers] == [(False, False)]


def test_a_crowd_makes_one_task(core: Core) -> None:
    """Of sixteen equal requests at once one makes a task, which absorbs the others."""
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: ask(core, SYNC), range(16)))

    assert len({answer.task.name for answer in answers}) == 1
    assert sum(answer.absorbed for answer in answers) == 15


def test_a_request_id_keeps_to_its_task(core: Core) -> None:
    """Asked again, with absorb or without, a request is answered as before; another is refused."""
    first = core.create(SYNC)
    absorbed = ask(core, SYNC, request_id="r")
    fresh = ask(core, COPY, request_id="s")

    again = [ask(core, SYNC, request_id="r", absorb=absorb) for absorb in (True, False)]
    once_more = [ask(core, COPY, request_id="s", absorb=absorb) for absorb in (True, False)]

    assert absorbed.task.name == first.name
    assert [(one.task.name, one.absorbed) for one in again] == [(first.name, True)] * 2
    assert again[-1].task.absorbed_requests == 1
    assert [(one.task.name, one.absorbed) for one in once_more] == [(fresh.task.name, False)] * 2
    with pytest.raises(ServiceError, match="request id r") as caught:
        ask(core, COPY, request_id="r")
    assert caught.value.reason == "REQUEST_ID_REUSED"


def test_requests_of_one_id_at_once_are_answered_alike(core: Core) -> None:
    """Of eight that come together one is absorbed, and all are told so."""
    first = core.create(SYNC)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(core, SYNC, request_id="r"), range(8)))

    assert {(one.task.name, one.absorbed) for one in answers} == {(first.name, True)}
    assert core.read(first.name).absorbed_requests == 1
