"""The core of `gateway_core` without grpc.aio: for a gateway that is a process of its own.

grpc.aio shares one queue among all event loops of a process. A loop in a thread that lives longer
than the loops of tests gets their events, and they get its.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import grpc

from gateway_core import FILES, FakeCore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from google.protobuf.message import Message

THREADS = 64
SECONDS = 30


class ThreadedCore(FakeCore):
    """Answers in threads: each call has an event loop for what the test gave."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve until the block ends."""
        with ThreadPoolExecutor(THREADS) as pool:
            server = grpc.server(pool, options=[("grpc.so_reuseport", 0)])
            for file in FILES:
                for service in file.services_by_name.values():
                    handlers = {rpc.name: self._handler(rpc) for rpc in service.methods}
                    handler = grpc.method_handlers_generic_handler(service.full_name, handlers)
                    server.add_generic_rpc_handlers((handler,))
            self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            server.start()
            try:
                yield
            finally:
                server.stop(None).wait(SECONDS)

    def _unary(self, rpc: str) -> Callable[..., Any]:
        answer = super()._unary(rpc)

        def handle(request: Any, context: grpc.ServicerContext) -> Message:  # noqa: ANN401
            return asyncio.run(answer(request, _Context(context)))  # type: ignore[no-any-return]

        return handle

    def _stream(self, rpc: str) -> Callable[..., Any]:
        answer = super()._stream(rpc)

        def handle(request: Any, context: grpc.ServicerContext) -> Iterator[Message]:  # noqa: ANN401
            with asyncio.Runner() as runner:
                stream: AsyncIterator[Message] = answer(request, _Context(context))
                while (message := runner.run(_next(stream, context))) is not None:
                    yield message

        return handle


class _Context:
    """A call, as answers of grpc.aio see it."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context
        self.invocation_metadata = context.invocation_metadata

    async def abort_with_status(self, status: Any) -> None:  # noqa: ANN401
        self._context.abort_with_status(status)


async def _next(stream: AsyncIterator[Message], context: grpc.ServicerContext) -> Message | None:
    """The next message; None at the end, and when the client has left."""
    loop = asyncio.get_running_loop()
    this = asyncio.current_task()
    assert this is not None

    def leave() -> None:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(this.cancel)

    if not context.add_callback(leave):
        return None
    try:
        return await anext(stream, None)
    except asyncio.CancelledError:
        return None
