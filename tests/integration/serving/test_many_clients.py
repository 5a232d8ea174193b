"""Many clients, slow ones and ones that ask for much, at a content origin in its own process."""

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from entrepot.core.v1.serving_service_pb2 import ListFolderResponse
from gateway_process import GatewayProcess, gateway_process, read_all, status
from served import Entry, a_file, store

CLIENTS = 500
SLOW_CLIENTS = 100
MIB = 1024**2


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """The content origin, with one file of 256 KiB and one of 64 MiB."""
    with gateway_process("content", tmp_path_factory.mktemp("home")) as process:
        for name, data in (("some", os.urandom(MIB // 4)), ("large", bytes(64 * MIB))):
            sha256 = store(process.home, data)
            process.files[name] = a_file(sha256=sha256, size_bytes=len(data))
        yield process


def request(target: str, *fields: str) -> bytes:
    """A request on a connection of its own."""
    lines = [f"GET {target} HTTP/1.1", "Host: a.test", "Connection: close", *fields, "", ""]
    return "\r\n".join(lines).encode()


async def test_five_hundred_clients_at_once(origin: GatewayProcess) -> None:
    """Each gets the whole file."""

    async def fetch() -> str:
        reader, writer = await asyncio.open_connection(*origin.address, limit=MIB)
        writer.write(request("/dev/some"))
        answer = await reader.read(-1)
        writer.close()
        return hashlib.sha256(answer.partition(b"\r\n\r\n")[2]).hexdigest()

    async with asyncio.timeout(60):
        found = await asyncio.gather(*(fetch() for _ in range(CLIENTS)))

    assert set(found) == {origin.files["some"].sha256}


@pytest.mark.parametrize("fields", [(), ("Range: bytes=1-",)], ids=["whole", "part"])
def test_slow_clients_cost_little(origin: GatewayProcess, fields: tuple[str, ...]) -> None:
    """Who takes 64 MiB byte by byte has few of them in memory, and others do not wait."""
    before = origin.memory
    with ExitStack() as stack:
        slow = [stack.enter_context(closing(origin.connect())) for _ in range(SLOW_CLIENTS)]
        for connection in slow:
            connection.sendall(request("/dev/large", *fields))
        heads = [connection.recv(1) for connection in slow]

        served = origin.exchange(request("/dev/some"))
        grown = origin.memory - before

    assert set(heads) == {b"H"}
    assert status(served) == 200
    assert grown < SLOW_CLIENTS * 2 * MIB


def test_a_large_folder_takes_no_memory(origin: GatewayProcess) -> None:
    """A page of 100,000 files with long names, 40 MiB of it, passes through."""

    async def batches(_: Any) -> AsyncIterator[ListFolderResponse]:  # noqa: ANN401
        for number in range(500):
            entries = [Entry(name=f"{number:03}-{n:03}" + "x" * 200) for n in range(200)]
            yield ListFolderResponse(entries=entries)

    origin.core.on("ListFolder", batches)
    origin.exchange(request("/dev/"))
    before = origin.memory
    with closing(origin.connect()) as connection:
        connection.sendall(request("/dev/"))
        page = read_all(connection)
        grown = origin.memory - before

    assert page.count(b"<tr>") == 100_001
    assert len(page) > 40 * MIB
    assert grown < 16 * MIB


def test_a_client_that_leaves_ends_the_work(origin: GatewayProcess) -> None:
    """Through the server too: core's stream ends when the connection does."""
    ended = threading.Event()

    async def for_ever(_: Any) -> AsyncIterator[ListFolderResponse]:  # noqa: ANN401
        try:
            while True:
                yield ListFolderResponse(entries=[Entry(name="x" * 200)] * 200)
        finally:
            ended.set()

    origin.core.on("ListFolder", for_ever)
    with closing(origin.connect()) as connection:
        connection.sendall(request("/dev/"))
        assert connection.recv(1) == b"H"
        assert not ended.is_set()

    assert ended.wait(20)
