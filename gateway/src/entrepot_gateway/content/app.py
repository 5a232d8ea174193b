"""The content origin as an ASGI application: from a path to bytes, by the shortest way."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import grpc
import structlog

from entrepot.core.v1 import serving_service_pb2, serving_service_pb2_grpc
from entrepot_gateway import problem
from entrepot_gateway.content.blob_folder import BlobFolder
from entrepot_gateway.content.files import Files, Kind
from entrepot_gateway.content.listing import POLICY, listing_for
from entrepot_gateway.content.on_demand import OnDemand
from entrepot_gateway.content.path import RESERVED, BadPathError, decode_path
from entrepot_gateway.content.pointers import Pointers
from entrepot_gateway.content.send import (
    COMMON,
    BrokenConnectionError,
    file_headers,
    is_unchanged,
    send_file,
)
from entrepot_gateway.core import service_error
from entrepot_rpc.errors import Code, ServiceError
from entrepot_rpc.problem import title

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, MutableMapping
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

    from entrepot_gateway.content.files import File
    from entrepot_gateway.content.pointers import Pointer
    from entrepot_gateway.content.send import (
        HeaderList,
    )
    from entrepot_gateway.core import Core

log = structlog.get_logger()

# Reasons that are upstream's fault and not ours.
_UPSTREAM = frozenset({"DOWNLOAD_FAILED", "DIGEST_MISMATCH", "SIZE_MISMATCH", "ADDRESS_FORBIDDEN"})
_LIST_SECONDS = 120.0


class Content:
    """The application of the role `content`."""

    def __init__(self, core: Core, blobs: Path | None, stale_seconds: float = 60.0) -> None:
        self._core = core
        self._stub = serving_service_pb2_grpc.ServingServiceStub(core.channel)
        self._folder = BlobFolder(blobs) if blobs else None
        self.pointers = Pointers(core, stale_seconds)
        self.files = Files(core)
        self._on_demand = OnDemand(core)
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or break the connection if the answer cannot be completed."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            return
        answer = _Answer(send)
        try:
            await self._answer(scope, answer)
        except ServiceError as error:
            if answer.has_begun:
                raise BrokenConnectionError(error.reason) from None
            await self._refuse(scope, answer, error)
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

    async def _answer(self, scope: Scope, answer: _Answer) -> None:
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
            await answer.text(404, "Not found.\n")
        elif path == "":
            await self._list_base_paths(scope, answer)
        else:
            await self._serve(scope, answer, path, is_folder=is_folder)

    async def _serve(self, scope: Scope, answer: _Answer, path: str, *, is_folder: bool) -> None:
        pointer = await self.pointers.find(path)
        if pointer is None or not pointer.content_set:
            await answer.text(
                404, "Not found.\n" if pointer is None else "Nothing is served yet.\n"
            )
            return
        below = path[len(pointer.base_path) + 1 :]
        file = await self.files.find(pointer.content_set, below) if below else None
        if file is None or file.kind == Kind.KIND_FOLDER:
            if is_folder:
                await self._list_folder(scope, answer, pointer, below)
            else:
                await answer.redirect(_with_slash(scope, path))
        elif is_folder or file.kind in (Kind.KIND_ABSENT, Kind.KIND_UNSPECIFIED):
            await answer.text(404, "Not found.\n")
        else:
            await self._send(scope, answer, pointer, below, file)

    async def _send(
        self, scope: Scope, answer: _Answer, pointer: Pointer, path: str, file: File
    ) -> None:
        request = dict(scope["headers"])
        if file.kind == Kind.KIND_STREAMED:
            await self._stream(answer, pointer, path, file)
            return
        if file.kind == Kind.KIND_FETCHABLE:
            if answer.is_head or is_unchanged(file, request):
                await self._describe(answer, file, request)
                return
            file = await self._fetch(pointer, path, file)
        if await self._send_stored(scope, answer, file, request):
            return
        # It was there when core said so. Core may have reclaimed it since, and can fetch it again.
        self.files.forget(pointer.content_set, path)
        file = await self.files.find(pointer.content_set, path)
        if file.kind == Kind.KIND_FETCHABLE and not answer.is_head:
            file = await self._fetch(pointer, path, file)
        if not await self._send_stored(scope, answer, file, request):
            self.files.forget(pointer.content_set, path)
            log.error("content.blob_missing", path=scope["path"], sha256=file.sha256)
            await answer.text(503, "The file is not available now.\n", [(b"retry-after", b"10")])

    async def _fetch(self, pointer: Pointer, path: str, file: File) -> File:
        file = await self._on_demand.fetch(pointer.content_set, path, file)
        self.files.keep(pointer.content_set, path, file)
        return file

    async def _send_stored(
        self, scope: Scope, answer: _Answer, file: File, request: Mapping[bytes, bytes]
    ) -> bool:
        if self._folder is None or file.kind != Kind.KIND_STORED:
            return False
        return await send_file(
            answer.send,
            self._folder,
            file,
            request,
            is_head=answer.is_head,
            can_send_path="http.response.pathsend" in scope.get("extensions", {}),
        )

    @staticmethod
    async def _describe(answer: _Answer, file: File, request: Mapping[bytes, bytes]) -> None:
        """Answer HEAD, or 304, for a file that is not fetched for it."""
        headers = [*file_headers(file), (b"accept-ranges", b"bytes")]
        if is_unchanged(file, request):
            await answer.empty(304, headers)
            return
        if file.size >= 0:
            headers.append((b"content-length", b"%d" % file.size))
        await answer.empty(200, headers)

    async def _stream(self, answer: _Answer, pointer: Pointer, path: str, file: File) -> None:
        headers = [*file_headers(file), (b"accept-ranges", b"none")]
        if file.size >= 0:
            headers.append((b"content-length", b"%d" % file.size))
        if answer.is_head:
            await answer.empty(200, headers)
            return
        chunk, rest = await self._on_demand.stream(pointer.content_set, path)
        await answer.start(200, headers)
        await answer.body(chunk)
        sent = len(chunk)
        async for chunk in rest:
            await answer.body(chunk)
            sent += len(chunk)
        if file.size >= 0 and sent != file.size:
            raise BrokenConnectionError("upstream sent another length")
        await answer.end()

    async def _list_folder(
        self, scope: Scope, answer: _Answer, pointer: Pointer, path: str
    ) -> None:
        call = self._stub.ListFolder(
            serving_service_pb2.ListFolderRequest(content_set=pointer.content_set, path=path),
            metadata=self._core.own,
            timeout=_LIST_SECONDS,
        )
        title = f"{pointer.base_path}/{path}".rstrip("/")
        try:
            await _write_listing(scope, answer, title, aiter(call))
        except grpc.RpcError as error:
            raise service_error(error) from None
        finally:
            call.cancel()

    async def _list_base_paths(self, scope: Scope, answer: _Answer) -> None:
        try:
            response = await self._stub.ListBasePaths(
                serving_service_pb2.ListBasePathsRequest(),
                metadata=self._core.own,
                timeout=_LIST_SECONDS,
            )
        except grpc.RpcError as error:
            raise service_error(error) from None
        entry = serving_service_pb2.ListFolderResponse.Entry
        batch = serving_service_pb2.ListFolderResponse(
            entries=[entry(name=name, is_folder=True) for name in response.base_paths]
        )

        async def batches() -> AsyncIterator[serving_service_pb2.ListFolderResponse]:
            yield batch

        await _write_listing(scope, answer, "", batches())

    async def _refuse(self, scope: Scope, answer: _Answer, error: ServiceError) -> None:
        headers = [
            (name.lower().encode("ascii"), value.encode("ascii"))
            for name, value in problem.headers(error, bearer=False).items()
        ]
        if error.reason in _UPSTREAM:
            host = urlsplit(error.metadata.get("url", "")).hostname or "the upstream"
            status = error.metadata.get("http_status", "")
            said = f"{host} answered {status}" if status.isdecimal() else f"{host} failed"
            log.info("content.upstream_failed", path=scope["path"], reason=error.reason, host=host)
            path = scope["path"].encode("ascii", "backslashreplace").decode("ascii")
            await answer.text(502, f"{path}: {said} ({error.reason}).\n", headers)
            return
        if error.code == Code.NOT_FOUND:
            await answer.text(404, "Not found.\n")
            return
        status_code = problem.http_status(error)
        if error.code in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED):
            # It is this process that core does not trust, not the client.
            status_code = 503
        log.warning("content.refused", path=scope["path"], reason=error.reason)
        await answer.text(status_code, f"{title(error.reason, error.code)}.\n", headers)


class _Answer:
    """An answer on its way, and how far it has come."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.is_head = False
        self.status = 0

    @property
    def has_begun(self) -> bool:
        """Whether the status is sent already."""
        return self.status != 0

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Pass on a message of ASGI."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)

    async def start(self, status: int, headers: HeaderList) -> None:
        """Send status and header fields."""
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def body(self, data: bytes) -> None:
        """Send a part of the body."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        """Say that the body is complete."""
        await self._send({"type": "http.response.body", "body": b""})

    async def empty(self, status: int, headers: HeaderList) -> None:
        """An answer without a body."""
        await self.start(status, headers)
        await self.end()

    async def text(self, status: int, text: str, headers: HeaderList | None = None) -> None:
        """A short answer for people."""
        data = text.encode("utf-8")
        await self.start(
            status,
            [
                *COMMON,
                *(headers or []),
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", b"%d" % len(data)),
            ],
        )
        if not self.is_head:
            await self.body(data)
        await self.end()

    async def redirect(self, location: str) -> None:
        """Send the client elsewhere, for good."""
        headers = [*COMMON, (b"location", location.encode("ascii")), (b"content-length", b"0")]
        await self.empty(301, headers)


async def _write_listing(
    scope: Scope,
    answer: _Answer,
    path: str,
    batches: AsyncIterator[serving_service_pb2.ListFolderResponse],
) -> None:
    accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
    listing = listing_for(accept)
    headers = [item for item in COMMON if item[0] != b"content-security-policy"]
    headers += [
        (b"content-security-policy", POLICY),
        (b"content-type", listing.media_type),
        (b"vary", b"accept"),
    ]
    if answer.is_head:
        await answer.empty(200, headers)
        return
    # The first batch comes before the status, so that a failure can still be said.
    batch = await anext(batches, None)
    await answer.start(200, headers)
    await answer.body(listing.start(path).encode("utf-8"))
    while batch is not None:
        await answer.body("".join(listing.entry(entry) for entry in batch.entries).encode("utf-8"))
        batch = await anext(batches, None)
    await answer.body(listing.end().encode("utf-8"))
    await answer.end()


def _with_slash(scope: Scope, path: str) -> str:
    query = scope["query_string"].decode("latin-1")
    safe = quote(query, safe="=&%+,;:@/?!$'()*~-._")
    return f"./{quote(path.rpartition('/')[2])}/{f'?{safe}' if query else ''}"
