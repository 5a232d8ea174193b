"""A server stream that is opened again whenever it breaks, for as long as the process lives."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import structlog

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable

log = structlog.get_logger()

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0

Response = TypeVar("Response")


async def keep_watching(
    name: str,
    open_stream: Callable[[], Any],
    receive: Callable[[Response], None],
    broken: Callable[[grpc.StatusCode | None], None] = lambda _code: None,
) -> None:
    """Hand every message of a stream to `receive`; tell `broken` each time why it was lost."""
    pause = FIRST_PAUSE
    is_up: bool | None = None
    while True:
        code: grpc.StatusCode | None = None
        try:
            stream: AsyncIterable[Response] = open_stream()
            async for response in stream:
                if is_up is False:
                    log.info("watch.restored", stream=name)
                is_up, pause = True, FIRST_PAUSE
                receive(response)
        except grpc.RpcError as error:
            code = error.code()
            if is_up is None:
                # Who starts everything at once need not start core first.
                log.info("watch.waiting", stream=name, code=str(code))
            elif is_up:
                log.warning("watch.lost", stream=name, code=str(code))
            is_up = False
        broken(code)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
