"""Hundreds of clients at once for one file that is not here, with slow ones among them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from rest import Api
from stack import Stack
from upstream import Behavior, Upstream, lies, truncates

BIG = "big.bin"
# More than is verified before the first byte.
SIZE = 5 * 1024**2
PARTS, WHOLE = 470, 29


@dataclass
class Answer:
    """Status, and the body as far as it came."""

    status: int
    length: int
    body: bytes

    @property
    def is_whole(self) -> bool:
        """Whether a client would take it for complete."""
        return len(self.body) == self.length


@asynccontextmanager
async def asked(
    stack: Stack, path: str, headers: str = ""
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A request that is sent, on a connection of its own."""
    host, port = stack.content_address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=64 * 1024)
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: h\r\n{headers}Connection: close\r\n\r\n"
        writer.write(request.encode())
        await writer.drain()
        yield reader, writer
    finally:
        writer.close()


async def answer_of(reader: asyncio.StreamReader) -> Answer:
    """What comes."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    body = b""
    try:
        while chunk := await reader.read(1 << 20):
            body += chunk
    except ConnectionError:
        pass
    return Answer(int(head.split()[1]), int(fields["content-length"]), body)


async def get(stack: Stack, path: str, headers: str = "") -> Answer:
    """The answer to a request."""
    async with asked(stack, path, headers) as (reader, _):
        return await answer_of(reader)


def served(api: Api, upstream: Upstream, policy: str = "on_demand") -> str:
    """The path of a large file that is not here."""
    upstream.files[BIG] = hashlib.sha256(str(upstream.salt).encode()).digest() * (SIZE // 32)
    repository = api.a_synced_repository(upstream, policy=policy)
    upstream.forget()
    return f"/{api.a_distribution(repository)['base_path']}/{BIG}"


async def test_five_hundred_clients_cost_one_download(
    stack: Stack, api: Api, upstream: Upstream
) -> None:
    """Whole or in part, each gets the right bytes; one who does not read keeps up nobody."""
    path = served(api, upstream)
    data = upstream.files[BIG]
    gate = upstream.hold(BIG)
    async with asked(stack, path) as (slow, _):
        parts = [
            asyncio.ensure_future(get(stack, path, f"Range: bytes={n * 7000}-{n * 7000 + 99}\r\n"))
            for n in range(PARTS)
        ]
        wholes = [asyncio.ensure_future(get(stack, path)) for _ in range(WHOLE)]
        await asyncio.to_thread(gate.wait_entered)
        gate.open()
        whole_answers = await asyncio.gather(*wholes)
        part_answers = await asyncio.gather(*parts)
        slow_answer = await answer_of(slow)

    assert {answer.body == data for answer in [*whole_answers, slow_answer]} == {True}
    assert [answer.status for answer in part_answers] == [206] * PARTS
    assert all(a.body == data[n * 7000 : n * 7000 + 100] for n, a in enumerate(part_answers))
    assert upstream.count(BIG) == 1


@pytest.mark.parametrize("policy", ["on_demand", "streamed"])
@pytest.mark.parametrize("behavior", [lies(), truncates()], ids=lambda one: one.kind)
async def test_no_client_gets_a_whole_answer_of_wrong_bytes(
    stack: Stack, api: Api, upstream: Upstream, behavior: Behavior, policy: str
) -> None:
    """All that wait for a file that turns out wrong are cut off, and it is not kept."""
    path = served(api, upstream, policy)
    upstream.behave(BIG, behavior)

    answers = await asyncio.gather(*(get(stack, path) for _ in range(5)))

    assert not any(answer.status == 200 and answer.is_whole for answer in answers)
    assert not (stack.home / "blobs").joinpath(*blob_of(upstream.files[BIG])).exists()


def blob_of(data: bytes) -> tuple[str, ...]:
    """Where a blob would be."""
    digest = hashlib.sha256(data).hexdigest()
    return "sha256", digest[:2], digest[2:4], digest
