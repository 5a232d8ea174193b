"""The content origin as an ASGI application: from a path to bytes, by the shortest way."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

import structlog

from entrepot_gateway.content.answer import Answer, BrokenConnectionError, ClientLeftError
from entrepot_gateway.content.delivery import Delivery
from entrepot_gateway.content.files import Files, Kind
from entrepot_gateway.content.folders import Folders
from entrepot_gateway.content.on_demand import OnDemand
from entrepot_gateway.content.path import RESERVED, BadPathError, decode_path
from entrepot_gateway.content.pointers import Pointers
from entrepot_gateway.content.prepared import PreparedAnswers
from entrepot_gateway.content.refusal import refuse
from entrepot_gateway.content.versions import Versions
from entrepot_rpc import correlation
from entrepot_rpc.errors import ServiceError

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from entrepot_gateway.content.blobs import Blobs
    from entrepot_gateway.content.pointers import Pointer
    from entrepot_gateway.core import Core

log = structlog.get_logger()


class Content:
    """The application of the role `content`."""

    def __init__(self, core: Core, blobs: Blobs | None, stale_seconds: float = 60.0) -> None:
        self._core = core
        self.pointers = Pointers(core, stale_seconds)
        self.files = Files(core)
        self._folders = Folders(core)
        self._versions = Versions(core)
        self._delivery = Delivery(self.files, blobs, OnDemand(core, self.files))
        self._prepared = PreparedAnswers(self.pointers)
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or break the connection if the answer cannot be completed."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._live(receive, send)
            return
        request_id = _given_id(scope)
        if request_id:
            send = _stamped(send, request_id)
        prepared = self._prepared.find(scope)
        if prepared is not None:
            # Not logged, which would cost as much as finding it.
            await send(prepared.start)
            await send(prepared.rest)
            return
        correlation.enter(request_id or correlation.new_request_id())
        answer = Answer(receive, send)
        try:
            await self._answer(scope, answer)
        except ServiceError as error:
            if answer.has_begun:
                raise BrokenConnectionError(error.reason) from None
            await refuse(scope, answer, error)
        except ClientLeftError:
            log.debug("content.client_left", path=scope["path"])
            return
        except BrokenConnectionError:
            raise
        except Exception:
            log.exception("content.failed", path=scope["path"])
            if answer.has_begun:
                raise BrokenConnectionError("internal") from None
            await answer.text(500, "Something went wrong.\n")
        log.debug("content.answered", path=scope["path"], status=answer.status)

    async def start(self) -> None:
        """Begin to follow core."""
        self._running = asyncio.create_task(self.pointers.run(), name="pointers")

    async def stop(self) -> None:
        """Let go of core."""
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running
        await self._core.close()

    def end_streams(self) -> None:
        """Downloads end by themselves."""

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.start()
            else:
                await self.stop()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def _answer(self, scope: Scope, answer: Answer) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await answer.text(405, "Only GET and HEAD.\n", [(b"allow", b"GET, HEAD")])
            return
        answer.is_head = scope["method"] == "HEAD"
        try:
            path, is_folder = decode_path(scope.get("raw_path") or quote(scope["path"]).encode())
        except BadPathError:
            await answer.text(400, "This is not a path that anything is served at.\n")
            return
        if path.partition("/")[0] in RESERVED:
            await answer.absent()
        elif path == "":
            await self._folders.send_root(scope, answer)
        else:
            await self._serve(scope, answer, path, is_folder=is_folder)

    async def _serve(self, scope: Scope, answer: Answer, path: str, *, is_folder: bool) -> None:
        absence = self.pointers.absence
        pointer = await self.pointers.find(path)
        if pointer is None:
            await answer.absent()
            self._prepared.keep(scope, answer, absence)
            return
        below = path[len(pointer.base_path) + 1 :]
        if not pointer.content_set:
            await self._serve_none(scope, answer, pointer, below, is_folder=is_folder)
            return
        file = await self.files.find(pointer.content_set, below) if below else None
        if file is None or file.kind == Kind.KIND_FOLDER:
            if is_folder:
                await self._folders.send(scope, answer, pointer, below)
            else:
                await answer.redirect(_with_slash(scope, path))
            return
        if is_folder:
            await answer.absent()
            return
        if file.kind != Kind.KIND_ABSENT:
            await self._delivery.send(scope, answer, pointer, below, file)
            self._prepared.keep(scope, answer, pointer)
            return
        for previous in self.pointers.still_served(pointer):
            # Clients under way ask for what was served before a switch.
            file = await self.files.find(previous.content_set, below)
            if file.kind not in (Kind.KIND_ABSENT, Kind.KIND_FOLDER):
                before = pointer.at(previous.content_set)
                await self._delivery.send(scope, answer, before, below, file)
                self._prepared.keep(scope, answer, pointer, previous.until)
                return
        await answer.absent()
        self._prepared.keep(scope, answer, pointer)

    async def _serve_none(
        self, scope: Scope, answer: Answer, pointer: Pointer, below: str, *, is_folder: bool
    ) -> None:
        """What a distribution answers that points at nothing, or not at what was asked for."""
        if pointer.asks_for_versions and not below:
            if is_folder:
                await self._versions.send(scope, answer, pointer)
            else:
                await answer.redirect(_with_slash(scope, pointer.base_path))
        elif pointer.fault:
            shown = pointer.fault.encode("ascii", "backslashreplace").decode("ascii")
            base_path = pointer.base_path.rpartition("@")[0]
            await answer.text(
                410 if pointer.is_gone else 404, f"{shown} Versions: /{base_path}@/\n"
            )
        elif pointer.asks_for_versions:
            await answer.absent()
        else:
            await answer.text(404, "Nothing is served yet.\n")


def _given_id(scope: Scope) -> str:
    """The id that a client gave its request; empty without one that can be used."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            return correlation.sane(value)
    return ""


def _stamped(send: Send, request_id: str) -> Send:
    """Send the id back. Messages are shared by answers, so they are not changed."""
    field = (b"x-request-id", request_id.encode("ascii"))

    async def stamp(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], field]}
        await send(message)

    return stamp


def _with_slash(scope: Scope, path: str) -> str:
    query = scope["query_string"].decode("latin-1")
    safe = quote(query, safe="=&%+,;:@/?!$'()*~-._")
    return f"./{quote(path.rpartition('/')[2])}/{f'?{safe}' if query else ''}"
