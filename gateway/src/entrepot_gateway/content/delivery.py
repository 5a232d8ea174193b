"""Brings a file to a client, wherever its bytes are: stored, to be fetched, or to be streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from entrepot_gateway.content.answer import BrokenConnectionError
from entrepot_gateway.content.files import Kind
from entrepot_gateway.content.headers import fields_of, file_headers
from entrepot_gateway.content.send import send_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Scope

    from entrepot_gateway.content.answer import Answer
    from entrepot_gateway.content.blobs import Blobs
    from entrepot_gateway.content.files import File, Files
    from entrepot_gateway.content.on_demand import OnDemand
    from entrepot_gateway.content.pointers import Pointer

log = structlog.get_logger()


class Delivery:
    """Answers requests for files."""

    def __init__(self, files: Files, blobs: Blobs | None, on_demand: OnDemand) -> None:
        self._files = files
        self._blobs = blobs
        self._on_demand = on_demand

    async def send(
        self, scope: Scope, answer: Answer, pointer: Pointer, path: str, file: File
    ) -> None:
        """A file of a distribution; `path` is below its base path.

        Raises:
            ServiceError: the bytes cannot be had.
            BrokenConnectionError: the answer has begun and cannot be completed.

        """
        request = fields_of(scope)
        if file.kind == Kind.KIND_STREAMED:
            await self._stream(answer, pointer, path, file, request)
            return
        if file.kind == Kind.KIND_FETCHABLE:
            if await self._is_described(answer, pointer, file, request):
                return
            file = await self._fetch(pointer, path, file)
        if await self._send_stored(scope, answer, pointer, file, request):
            return
        # It was there when core said so. Core may have reclaimed it since, and can fetch it again.
        self._files.forget(pointer.content_set, path)
        file = await self._files.find(pointer.content_set, path)
        if file.kind == Kind.KIND_FETCHABLE and not answer.is_head:
            file = await self._fetch(pointer, path, file)
        if not await self._send_stored(scope, answer, pointer, file, request):
            self._files.forget(pointer.content_set, path)
            log.error("content.blob_missing", path=scope["path"], sha256=file.sha256)
            await answer.text(503, "The file is not available now.\n", [(b"retry-after", b"10")])

    async def _fetch(self, pointer: Pointer, path: str, file: File) -> File:
        file = await self._on_demand.fetch(pointer.content_set, path, file)
        self._files.keep(pointer.content_set, path, file)
        return file

    async def _send_stored(
        self,
        scope: Scope,
        answer: Answer,
        pointer: Pointer,
        file: File,
        request: Mapping[bytes, bytes],
    ) -> bool:
        if self._blobs is None or file.kind != Kind.KIND_STORED:
            return False
        return await send_file(
            answer,
            self._blobs,
            file,
            request,
            file_headers(file, is_immutable=pointer.is_immutable),
            can_send_path="http.response.pathsend" in scope.get("extensions", {}),
        )

    @staticmethod
    async def _is_described(
        answer: Answer, pointer: Pointer, file: File, request: Mapping[bytes, bytes]
    ) -> bool:
        """Answer what needs no bytes: a condition that decides, or HEAD."""
        headers = [
            *file_headers(file, is_immutable=pointer.is_immutable),
            (b"accept-ranges", b"bytes"),
        ]
        if await answer.settles(file, request, headers):
            return True
        if not answer.is_head:
            return False
        if file.size >= 0:
            headers.append((b"content-length", b"%d" % file.size))
        await answer.empty(200, headers)
        return True

    async def _stream(
        self,
        answer: Answer,
        pointer: Pointer,
        path: str,
        file: File,
        request: Mapping[bytes, bytes],
    ) -> None:
        headers = [
            *file_headers(file, is_immutable=pointer.is_immutable),
            (b"accept-ranges", b"none"),
        ]
        if await answer.settles(file, request, headers):
            return
        if file.size >= 0:
            headers.append((b"content-length", b"%d" % file.size))
        if answer.is_head:
            await answer.empty(200, headers)
            return
        async with answer.while_client_stays():
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
