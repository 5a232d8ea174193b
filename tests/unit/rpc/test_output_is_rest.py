"""`-o json` and REST show the same, byte for byte apart from white space."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import any_pb2
from google.protobuf.message import Message

from entrepot.core.v1 import (
    plugin_service_pb2,
    remote_service_pb2,
    repository_service_pb2,
    status_service_pb2,
    task_service_pb2,
)
from entrepot_cli.app import main
from entrepot_gateway.app import Api
from entrepot_gateway.core import Core
from entrepot_rpc.declaration import DeclaredMessages
from entrepot_rpc.errors import Code, Precondition, ServiceError, Violation
from entrepot_rpc.status import to_status
from gateway_client import Client
from gateway_core import TOKEN, FakeCore
from gateway_declarations import FEEDING, a_plugin

MESSAGES = DeclaredMessages(a_plugin())
Feeding = MESSAGES.message("acme.zoo.v1.Feeding")


def a_full_feeding() -> Message:
    """Parameters in which every field is set, to what is hard to write."""
    message: Any = Feeding(
        repository="repositories/zoo/ä",
        remote='"\\\n',
        animals=["a", ""],
        count=-(2**63),
        big=2**64 - 1,
        small=-1,
        ratio=float("nan"),
        half=0.1,
        few=2**32 - 1,
        happy=True,
        mood=2,
        moods=[1, 0, 2, 9],
        raw=b"\x00\xff",
        tags={"z": "1", "a": "2"},
        note="",
        counts=[0, 2**53 + 1],
    )
    message.at.FromJsonString("2026-01-31T12:00:00.000001Z")
    message.pause.FromMilliseconds(1500)
    message.cage.SetInParent()
    message.cages.add(name="b", bars=3)
    message.mask.FromJsonString("a,bC")
    message.anything.update({"deep": [1.5, None, {"k": True}]})
    message.inner.Pack(MESSAGES.message("acme.zoo.v1.Animal")(species="gnu", mood=1))
    return message  # type: ignore[no-any-return]


def a_task(**fields: Any) -> task_service_pb2.Task:  # noqa: ANN401  any field
    """A task of the zoo that failed, with all that an error can have."""
    task = task_service_pb2.Task(
        name="tasks/01",
        task_type="zoo/feedings",
        state=task_service_pb2.Task.STATE_FAILED,
        **fields,
    )
    task.parameters.Pack(a_full_feeding())
    task.error.CopyFrom(
        to_status(
            ServiceError.of(
                Code.ABORTED,
                "VERSION_CONFLICT",
                "It moved.",
                metadata={"z": "1", "a": "2"},
                violations=(Violation("parameters.cages[0].bars", "too few", "BARS_TOO_FEW"),),
                preconditions=(Precondition("REPOSITORY", "repositories/zoo/a", "in use"),),
            )
        )
    )
    return task


def a_repository() -> repository_service_pb2.Repository:
    """A repository with fields of its plugin."""
    repository = repository_service_pb2.Repository(name="repositories/zoo/a", labels={"b": "c"})
    repository.spec.Pack(MESSAGES.message("acme.zoo.v1.Habitat")(climate="hot"))
    return repository


def an_undeclared_task() -> task_service_pb2.Task:
    """A task whose parameters are of a message that nobody declares, though the zoo has it."""
    cage = any_pb2.Any()
    cage.Pack(MESSAGES.message("acme.zoo.v1.Cage")(bars=3))
    return task_service_pb2.Task(name="tasks/01", task_type="zoo/feedings", parameters=cage)


@pytest.fixture
async def core() -> AsyncIterator[FakeCore]:
    """A core with the zoo."""

    async def watch_plugins(_: Any) -> AsyncIterator[Message]:  # noqa: ANN401
        yield plugin_service_pb2.WatchPluginsResponse(declarations=[a_plugin()])
        await asyncio.Event().wait()

    async def watch(_: Any) -> AsyncIterator[Message]:  # noqa: ANN401
        await asyncio.Event().wait()
        yield task_service_pb2.WatchEventsResponse()

    fake = FakeCore()
    fake.on("WatchPlugins", watch_plugins)
    fake.on("WatchEvents", watch)
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def rest(core: FakeCore) -> AsyncIterator[Client]:
    """The gateway in front of that core."""
    application = Api(Core(core.address, TOKEN))
    await application.start()
    await application.plugins.catalog()
    yield Client(application)
    await application.stop()


def test_the_message_has_every_field() -> None:
    """No field of the zoo is forgotten here."""
    assert {field.name for field, _ in a_full_feeding().ListFields()} == {
        name for name, *_ in FEEDING
    }


@pytest.mark.parametrize(
    ("words", "path", "rpc", "response"),
    [
        ("task get 01", "tasks/01/", "GetTask", task_service_pb2.GetTaskResponse(task=a_task())),
        (
            "task get 01",
            "tasks/01/",
            "GetTask",
            task_service_pb2.GetTaskResponse(task=an_undeclared_task()),
        ),
        (
            "repository get zoo/a",
            "repositories/zoo/a/",
            "GetRepository",
            repository_service_pb2.GetRepositoryResponse(repository=a_repository()),
        ),
        (
            "remote get zoo/a",
            "remotes/zoo/a/",
            "GetRemote",
            remote_service_pb2.GetRemoteResponse(
                remote=remote_service_pb2.Remote(name="remotes/zoo/a")
            ),
        ),
        (
            "plugin get zoo",
            "plugins/zoo/",
            "GetPlugin",
            plugin_service_pb2.GetPluginResponse(
                plugin=plugin_service_pb2.Plugin(name="plugins/zoo", declaration=a_plugin())
            ),
        ),
        ("status", "status/", "GetStatus", status_service_pb2.GetStatusResponse(version="1")),
    ],
)
async def test_the_command_line_shows_what_rest_shows(
    words: str,
    path: str,
    rpc: str,
    response: Message,
    core: FakeCore,
    rest: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same names, values and order, whatever kind of field it is."""
    monkeypatch.setenv("ENTREPOT_GRPC", core.address)
    monkeypatch.setenv("ENTREPOT_TOKEN", TOKEN)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    core.on(rpc, response)

    answer = await rest.request("GET", f"/api/v3/{path}")
    # What the gateway logs is not our output.
    capsys.readouterr()
    status = await asyncio.to_thread(main, [*words.split(), "-o", "json"])

    assert (answer.status, status) == (200, 0)
    shown = json.loads(capsys.readouterr().out)
    compact = json.dumps(shown, ensure_ascii=False, separators=(",", ":"))
    assert answer.body.decode() == f"{compact}\n"
