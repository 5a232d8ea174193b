"""A core that does what a test tells it: a real gRPC server in this process, without any logic."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from google.protobuf import message_factory

from entrepot.core.v1 import (
    content_service_pb2,
    distribution_service_pb2,
    plugin_service_pb2,
    publication_service_pb2,
    remote_service_pb2,
    repository_service_pb2,
    serving_service_pb2,
    status_service_pb2,
    task_service_pb2,
    upload_service_pb2,
)
from entrepot_rpc.errors import Code, ServiceError
from entrepot_rpc.status import to_grpc_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from google.protobuf.message import Message

FILES = (
    content_service_pb2.DESCRIPTOR,
    distribution_service_pb2.DESCRIPTOR,
    plugin_service_pb2.DESCRIPTOR,
    publication_service_pb2.DESCRIPTOR,
    remote_service_pb2.DESCRIPTOR,
    repository_service_pb2.DESCRIPTOR,
    serving_service_pb2.DESCRIPTOR,
    status_service_pb2.DESCRIPTOR,
    task_service_pb2.DESCRIPTOR,
    upload_service_pb2.DESCRIPTOR,
)
TOKEN = "secret"
OPEN_TO_ALL = ServiceError.of(Code.UNIMPLEMENTED, "ROUTE_UNKNOWN", "The test did not expect this.")


@dataclass(frozen=True, slots=True)
class Received:
    """A call that came."""

    rpc: str
    request: Any
    metadata: dict[str, str]


@dataclass(slots=True)
class FakeCore:
    """Answers each rpc with what the test gave: a message, an error, or a function."""

    token: str = TOKEN
    answers: dict[str, Any] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    address: str = ""
    _server: grpc.aio.Server | None = None
    _port: int = 0

    def on(self, rpc: str, answer: object) -> None:
        """Answer an rpc with a message, an error, or a function that returns one or streams.

        A status code alone is what a transport answers that has lost core.
        """
        self.answers[rpc] = answer

    def last(self, rpc: str) -> Any:  # noqa: ANN401  whatever the rpc's request is
        """The latest request of an rpc."""
        return next(item.request for item in reversed(self.received) if item.rpc == rpc)

    def count(self, rpc: str) -> int:
        """How often an rpc was called."""
        return sum(item.rpc == rpc for item in self.received)

    async def start(self) -> None:
        """Serve, on the same port as before if there was one."""
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        for file in FILES:
            for service in file.services_by_name.values():
                server.add_generic_rpc_handlers(
                    (
                        grpc.method_handlers_generic_handler(
                            service.full_name,
                            {rpc.name: self._handler(rpc) for rpc in service.methods},
                        ),
                    )
                )
        self._port = server.add_insecure_port(f"127.0.0.1:{self._port}")
        self.address = f"127.0.0.1:{self._port}"
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Break every call and serve no more."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    def _handler(self, rpc: Any) -> Any:  # noqa: ANN401  grpc's own types are private
        request_class = message_factory.GetMessageClass(rpc.input_type)
        kinds = {
            (False, False): (grpc.unary_unary_rpc_method_handler, self._unary),
            (False, True): (grpc.unary_stream_rpc_method_handler, self._stream),
            (True, False): (grpc.stream_unary_rpc_method_handler, self._unary),
        }
        make, behaviour = kinds[rpc.client_streaming, rpc.server_streaming]
        return make(
            behaviour(rpc.name),
            request_deserializer=request_class.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    def _unary(self, rpc: str) -> Callable[..., Any]:
        async def handle(request: Any, context: Any) -> Message:  # noqa: ANN401
            try:
                self._receive(rpc, request, context)
                answer = self.answers.get(rpc, OPEN_TO_ALL)
                if callable(answer):
                    answer = answer(request)
                if hasattr(answer, "__await__"):
                    answer = await answer
                if isinstance(answer, Exception):
                    raise answer
                if isinstance(answer, grpc.StatusCode):
                    await context.abort(answer, "As the transport says it.")
            except ServiceError as error:
                await context.abort_with_status(to_grpc_status(error))
                raise
            return answer  # type: ignore[no-any-return]

        return handle

    def _stream(self, rpc: str) -> Callable[..., Any]:
        async def handle(request: Any, context: Any) -> AsyncIterator[Message]:  # noqa: ANN401
            try:
                self._receive(rpc, request, context)
                answer = self.answers.get(rpc, OPEN_TO_ALL)
                if isinstance(answer, Exception):
                    raise answer
                async for message in answer(request):
                    yield message
            except ServiceError as error:
                await context.abort_with_status(to_grpc_status(error))

        return handle

    def _receive(self, rpc: str, request: object, context: Any) -> None:  # noqa: ANN401
        metadata = {key: str(value) for key, value in context.invocation_metadata() or ()}
        self.received.append(Received(rpc, request, metadata))
        if metadata.get("authorization") != f"Bearer {self.token}":
            raise ServiceError.of(Code.UNAUTHENTICATED, "UNAUTHENTICATED", "A token is needed.")
