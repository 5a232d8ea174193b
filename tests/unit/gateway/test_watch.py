"""Streams from core that are kept open: what the log says of their ends."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
import structlog

from entrepot_gateway.watch import keep_watching


class Gone(grpc.RpcError):
    """Core is not there."""

    def code(self) -> grpc.StatusCode:
        """As gRPC's own error has it."""
        return grpc.StatusCode.UNAVAILABLE


async def _stream(messages: int) -> AsyncIterator[str]:
    """Some messages; then core is gone."""
    for _ in range(messages):
        yield "hello"
    raise Gone


async def _lasting(is_there: asyncio.Event) -> AsyncIterator[str]:
    """A message, and then nothing for long."""
    yield "hello"
    is_there.set()
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (0, [("info", "watch.waiting"), ("info", "watch.restored")]),
        (1, [("warning", "watch.lost"), ("info", "watch.restored")]),
    ],
)
async def test_core_may_come_later(messages: int, expected: list[tuple[str, str]]) -> None:
    """Only a stream that was there before is lost; one that has to wait is no reason to warn."""
    is_there = asyncio.Event()
    streams = iter([_stream(messages), _lasting(is_there)])

    with structlog.testing.capture_logs() as logs:
        watching = keep_watching("events", lambda: next(streams), lambda _message: None)
        task = asyncio.create_task(watching)
        await asyncio.wait_for(is_there.wait(), 10)
        task.cancel()

    assert expected == [(line["log_level"], line["event"]) for line in logs]
