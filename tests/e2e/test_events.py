"""A thousand clients follow events: each hears each once, in order, over restarts and kills."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException

import pytest

from polling import until
from rest import Api
from stack import Stack, StackFactory

WATCHERS = 1_000
TASKS = 20
SECONDS = 120


@dataclass
class Follower:
    """A client of the event stream that comes back as a browser does, where it was."""

    stack: Stack
    path: str = "/api/v3/events/"
    numbers: list[int] = field(default_factory=list)
    kinds: list[tuple[str, str]] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    last: str = ""

    async def follow(self) -> None:
        """Follow for ever."""
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._once()
            await asyncio.sleep(0.05)

    async def until_told(self, count: int) -> None:
        """Wait until so many events have come."""
        while len(self.numbers) < count:
            self.heard.clear()
            await self.heard.wait()

    async def _once(self) -> None:
        headers = f"Last-Event-ID: {self.last}\r\n" if self.last else ""
        async with opened(self.stack, self.path, headers) as reader:
            event: dict[str, str] = {}
            # A line without an end, and an event without an empty line, are none: they broke off.
            while (line := await reader.readline()).endswith(b"\n"):
                name, _, value = line.decode().strip().partition(": ")
                if name:
                    event[name] = value
                else:
                    self._take(event)
                    event = {}

    def _take(self, event: dict[str, str]) -> None:
        if "id" in event:
            self.last = event["id"]
            self.numbers.append(int(self.last))
        if "data" in event:
            self.kinds.append((event["event"], json.loads(event["data"]).get("task", "")))
        self.heard.set()


@asynccontextmanager
async def opened(
    stack: Stack, path: str, headers: str = ""
) -> AsyncIterator[asyncio.StreamReader]:
    """The body of an answer 200, without the framing of its chunks."""
    host, port = stack.http.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        request = (
            # Of HTTP 1.0, so that the body comes as it is.
            f"GET {path} HTTP/1.0\r\nHost: {stack.http}\r\n"
            f"Authorization: Bearer {stack.token}\r\n{headers}\r\n"
        )
        writer.write(request.encode())
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise OSError(head)
        yield reader
    finally:
        writer.close()


@asynccontextmanager
async def following(followers: list[Follower]) -> AsyncIterator[None]:
    """All of them follow, and have been heard."""
    running = [asyncio.create_task(one.follow()) for one in followers]
    try:
        async with asyncio.timeout(SECONDS):
            for one in followers:
                await one.heard.wait()
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def expected(follower: Follower) -> list[int]:
    """What its numbers are if none is missing and none comes twice."""
    return list(range(follower.numbers[0], follower.numbers[0] + len(follower.numbers)))


async def small_tasks(api: Api, count: int) -> list[str]:
    """Names of tasks that have little to do, and are over."""
    names = []
    for _ in range(count):
        task = await asyncio.to_thread(api.completed, "core/orphans", {"dry_run": "true"})
        names.append(str(task["name"]))
    return names


async def test_a_thousand_clients_hear_everything_once(stack: Stack) -> None:
    """Each of them gets every event of twenty tasks exactly once and in order."""
    followers = [Follower(stack) for _ in range(WATCHERS)]

    async with following(followers):
        names = await small_tasks(stack.api, TASKS)
        async with asyncio.timeout(SECONDS):
            for one in followers:
                while not one.kinds or one.kinds[-1] != ("completed", names[-1]):
                    await one.until_told(len(one.numbers) + 1)

    for one in followers:
        assert expected(one) == one.numbers
        assert one.numbers == followers[0].numbers
    told = followers[0].kinds
    for name in names:
        kinds = [kind for kind, task in told if task == name and kind != "progressed"]
        assert kinds == ["created", "started", "completed"]


@pytest.mark.slow
async def test_no_kill_loses_or_repeats_an_event(a_stack: StackFactory) -> None:
    """After kill -9 of gateway, api and dispatcher clients resume without gap or repeat."""
    stack = a_stack()
    followers = [Follower(stack) for _ in range(50)]

    async with following(followers):
        names = await small_tasks(stack.api, 1)
        for role in ("gateway", "api", "dispatch"):
            process = stack.process(role)
            process.kill()
            await asyncio.to_thread(until, lambda: api_answers(stack), "the api to be back", 60)
            names += await small_tasks(stack.api, 1)
        async with asyncio.timeout(SECONDS):
            for one in followers:
                while not one.kinds or one.kinds[-1] != ("completed", names[-1]):
                    await one.until_told(len(one.numbers) + 1)

    for one in followers:
        assert expected(one) == one.numbers
        assert one.numbers[-1] == followers[0].numbers[-1]


def api_answers(stack: Stack) -> bool:
    """Whether tasks can be listed."""
    try:
        return stack.api.request("GET", "tasks/").status == 200
    except (OSError, HTTPException):
        return False


@pytest.mark.parametrize("where", ["header", "query"])
async def test_a_number_of_the_future_is_a_gap_that_is_told(stack: Stack, where: str) -> None:
    """The client is told where the log stands, and follows from there."""
    follower = Follower(stack)
    if where == "header":
        follower.last = str(10**15)
    else:
        follower.path += f"?after={10**15}"

    async with following([follower]):
        (name,) = await small_tasks(stack.api, 1)
        async with asyncio.timeout(SECONDS):
            while follower.kinds[-1] != ("completed", name):
                await follower.until_told(len(follower.numbers) + 1)

    assert follower.kinds[0] == ("reset", "")
    assert follower.numbers[0] < 10**15
    assert expected(follower) == follower.numbers


async def test_a_client_that_never_reads_delays_nobody(stack: Stack) -> None:
    """Others hear of their events while it is connected."""
    async with opened(stack, "/api/v3/events/", "Last-Event-ID: 0\r\n"):
        follower = Follower(stack)
        async with following([follower]):
            (name,) = await small_tasks(stack.api, 1)
            async with asyncio.timeout(SECONDS):
                while not follower.kinds or follower.kinds[-1] != ("completed", name):
                    await follower.until_told(len(follower.numbers) + 1)
