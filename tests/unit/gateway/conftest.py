"""A gateway in this process, and a core that does what the test says."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from entrepot.core.v1 import plugin_service_pb2, serving_service_pb2, task_service_pb2
from entrepot_gateway.app import Api
from entrepot_gateway.content.app import Content
from entrepot_gateway.content.blob_folder import BlobFolder
from entrepot_gateway.core import Core
from gateway_client import Client
from gateway_core import TOKEN, FakeCore
from gateway_declarations import a_plugin
from served import Resolved, a_file, store


class Feed:
    """A server stream that a test writes to."""

    def __init__(self, *first: Any) -> None:  # noqa: ANN401  whatever the rpc sends
        self.first = list(first)
        self.requests: list[Any] = []
        self.connected = asyncio.Event()
        self._queues: list[asyncio.Queue[Any]] = []

    def send(self, message: Any) -> None:  # noqa: ANN401  as above
        """Send to all who are connected, and to all who come."""
        for queue in self._queues:
            queue.put_nowait(message)

    async def __call__(self, request: Any) -> AsyncIterator[Any]:  # noqa: ANN401  as above
        """Answer a call."""
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self.requests.append(request)
        self._queues.append(queue)
        self.connected.set()
        for message in self.first:
            yield message
        while True:
            yield await queue.get()


@pytest.fixture
async def core() -> AsyncIterator[FakeCore]:
    """A core with one plugin, nothing happening."""
    fake = FakeCore()
    fake.on(
        "WatchPlugins", Feed(plugin_service_pb2.WatchPluginsResponse(declarations=[a_plugin()]))
    )
    fake.on("WatchEvents", Feed(task_service_pb2.WatchEventsResponse()))
    fake.on("WatchPointers", Feed())
    fake.on("ListPlugins", plugin_service_pb2.ListPluginsResponse())
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def app(core: FakeCore) -> AsyncIterator[Api]:
    """The role api, following that core."""
    application = Api(Core(core.address, TOKEN))
    await application.start()
    await application.plugins.catalog()
    yield application
    await application.stop()


@pytest.fixture
def client(app: Api) -> Client:
    """A client of the API with the right token."""
    return Client(app)


@pytest.fixture
async def task_events(app: Api, core: FakeCore) -> Feed:
    """The stream of events that the gateway follows."""
    stream: Feed = core.answers["WatchEvents"]
    await stream.connected.wait()
    return stream


@pytest.fixture
async def content(core: FakeCore, tmp_path: Any) -> AsyncIterator[Content]:  # noqa: ANN401
    """The role content, with an empty blob folder."""
    application = Content(Core(core.address, TOKEN), BlobFolder(tmp_path / "blobs"))
    await application.start()
    application.pointers.receive(serving_service_pb2.WatchPointersResponse(all=True))
    yield application
    await application.stop()


@pytest.fixture
def files(core: FakeCore) -> dict[str, Resolved]:
    """What is below /dev, by path."""
    found: dict[str, Resolved] = {"a": Resolved(kind=Resolved.KIND_FOLDER)}

    def resolve_pointer(request: Any) -> serving_service_pb2.ResolvePointerResponse:  # noqa: ANN401
        if request.path.split("/")[0] != "dev":
            return serving_service_pb2.ResolvePointerResponse()
        return serving_service_pb2.ResolvePointerResponse(
            distribution="distributions/zoo/dev", base_path="dev", content_set="7"
        )

    core.on("ResolvePointer", resolve_pointer)
    core.on("ResolvePath", lambda r: found.get(r.path, Resolved(kind=Resolved.KIND_ABSENT)))
    return found


@pytest.fixture
async def stored(files: dict[str, Resolved], tmp_path: Path, content: Content) -> str:
    """A stored file at /dev/a/x.txt, and the address where pointers are watched."""
    del content
    files["a/x.txt"] = a_file()
    return store(tmp_path)
