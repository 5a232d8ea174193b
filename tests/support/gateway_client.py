"""Speaks ASGI to an application in this process, as a server would."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway_core import TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from starlette.types import ASGIApp, Message

BEARER = {"authorization": f"Bearer {TOKEN}"}
DEADLINE_SECONDS = 20


@dataclass
class Answer:
    """What came back."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    # The file that the server was asked to send by itself.
    path: str = ""
    complete: bool = False

    @property
    def json(self) -> Any:  # noqa: ANN401  a test says what it expects
        """The body, read as JSON."""
        return json.loads(self.body)

    @property
    def pointers(self) -> list[str]:
        """Where the errors of a problem are."""
        return [error["pointer"] for error in self.json["errors"]]


@dataclass
class Exchange:
    """An answer on its way."""

    answer: Answer
    arrived: asyncio.Queue[bytes]
    _disconnect: asyncio.Event
    _task: asyncio.Task[None]

    async def next(self) -> str:
        """The next piece of the body; empty at its end."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            return (await self.arrived.get()).decode()

    async def until(self, text: str) -> str:
        """Pieces of the body up to one with this text."""
        seen = ""
        while text not in seen:
            piece = await self.next()
            assert piece, f"the answer ended without {text!r}: {seen!r}"
            seen += piece
        return seen

    async def leave(self) -> None:
        """Close the connection."""
        self._disconnect.set()
        await self.finish()

    async def finish(self) -> None:
        """Wait until the application is done."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._task


class Client:
    """Sends requests to an application, with the token unless told otherwise."""

    def __init__(self, app: ASGIApp, headers: dict[str, str] | None = None) -> None:
        self._app = app
        self._headers = BEARER if headers is None else headers

    async def request(
        self,
        method: str,
        target: str,
        document: object = None,
        *,
        headers: dict[str, str] | None = None,
        body: Iterable[bytes] = (),
    ) -> Answer:
        """The whole answer. A document is sent as JSON, a body in the pieces that it has."""
        async with self.open(method, target, document, headers=headers, body=body) as exchange:
            await exchange.finish()
        return exchange.answer

    @asynccontextmanager
    async def open(
        self,
        method: str,
        target: str,
        document: object = None,
        *,
        headers: dict[str, str] | None = None,
        body: Iterable[bytes] = (),
        stays: bool = True,
        reads: bool = True,
    ) -> AsyncIterator[Exchange]:
        """The answer bit by bit.

        Without `stays` the client is gone after its body, without `reads` it takes none of ours.
        """
        fields = {"host": "api.test"} | self._headers | (headers or {})
        pieces = list(body)
        if document is not None:
            pieces = [json.dumps(document).encode()]
            fields = {"content-type": "application/json"} | fields
        raw_path, _, query = target.partition("?")
        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "scheme": "http",
            "path": raw_path,
            "raw_path": raw_path.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in fields.items()],
            "extensions": {"http.response.pathsend": {}},
        }
        answer = Answer()
        arrived: asyncio.Queue[bytes] = asyncio.Queue()
        disconnect = asyncio.Event()

        async def receive() -> Message:
            if pieces:
                piece = pieces.pop(0)
                return {
                    "type": "http.request",
                    "body": piece,
                    "more_body": bool(pieces) or not stays,
                }
            if stays and not asked:
                asked.append(True)
                return {"type": "http.request", "body": b"", "more_body": False}
            if stays:
                await disconnect.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if not reads and message["type"] == "http.response.body":
                await asyncio.Event().wait()
            _take(answer, arrived, message)

        asked: list[bool] = [True] if pieces else []
        task = asyncio.ensure_future(_run(self._app, scope, receive, send, arrived))
        try:
            yield Exchange(answer, arrived, disconnect, task)
        finally:
            disconnect.set()
            if not task.done():
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _run(app: Any, scope: Any, receive: Any, send: Any, arrived: Any) -> None:  # noqa: ANN401
    try:
        await app(scope, receive, send)
    finally:
        arrived.put_nowait(b"")


def _take(answer: Answer, arrived: asyncio.Queue[bytes], message: Message) -> None:
    assert not answer.complete, "something was sent after the end"
    if message["type"] == "http.response.start":
        answer.status = message["status"]
        for name, value in message["headers"]:
            # What granian would refuse, and worse servers would pass on.
            assert all(32 <= byte < 127 for byte in value), value
            answer.headers[name.decode().lower()] = value.decode()
        return
    if message["type"] == "http.response.pathsend":
        answer.path = message["path"]
        answer.complete = True
        return
    answer.body += message.get("body", b"")
    if message.get("body"):
        arrived.put_nowait(message["body"])
    answer.complete = not message.get("more_body", False)
