"""Brings a file to a client, wherever its bytes are: stored, to be fetched, or to be streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

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
        if file.kind in (Kind.KIND_FETCHABLE, Kind.KIND_STREAMED):
            if await self._is_described(answer, pointer, file, request):
                return
        elif await self._send_stored(scope, answer, pointer, file, request):
            return
        else:
            # It was there when core said so. Core may have reclaimed it since, or it was lost.
            self._files.forget(pointer.content_set, path)
            file = await self._files.find(pointer.content_set, path)
            if file.kind != Kind.KIND_STORED and await self._is_described(
                answer, pointer, file, request
            ):
                return
        stored = await self._bring(answer, pointer, path, file, request)
        if stored is None or await self._send_stored(scope, answer, pointer, stored, request):
            return
        self._files.forget(pointer.content_set, path)
        log.error("content.blob_missing", path=scope["path"], sha256=stored.sha256)
        await answer.text(503, "The file is not available now.\n", [(b"retry-after", b"10")])

    async def _bring(
        self,
        answer: Answer,
        pointer: Pointer,
        path: str,
        file: File,
        request: Mapping[bytes, bytes],
    ) -> File | None:
        """Answer with what core brings; or the file, and nothing sent, if it is stored now."""
        async with self._on_demand.arrival(pointer.content_set, path, file) as arrival:
            async with answer.while_client_stays():
                is_given_out = await arrival.begun()
            if not is_given_out:
                return arrival.stored
            headers = file_headers(file, is_immutable=pointer.is_immutable)
            if file.size >= 0:
                await send_file(answer, arrival, file, request, headers, can_send_path=False)
                return None
            # Nobody knows where a part of it would end.
            await answer.start(200, [*headers, (b"accept-ranges", b"none")])
            async with answer.while_client_stays():
                await arrival.send(answer.send, 0, None)
                await answer.end()
            return None

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
        is_known = file.size >= 0
        headers = [
            *file_headers(file, is_immutable=pointer.is_immutable),
            (b"accept-ranges", b"bytes" if is_known else b"none"),
        ]
        if await answer.settles(file, request, headers):
            return True
        if not answer.is_head:
            return False
        if is_known:
            headers.append((b"content-length", b"%d" % file.size))
        await answer.empty(200, headers)
        return True
