"""Core's servicers without a database and without a socket, called as gRPC calls them.

What is around a servicer in production is around it here: the interceptors, in their order. Who
asks the database gets DATABASE_UNAVAILABLE, so that any other refusal was made without it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import grpc
import grpc_testing
from google.protobuf import any_pb2
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from entrepot.plugin.v1 import describe_pb2
from entrepot_core.api.authentication import Authenticator
from entrepot_core.api.callers import Callers
from entrepot_core.plugins.catalog import Catalog
from entrepot_core.plugins.descriptors import Declaration
from entrepot_core.plugins.registry import Registry
from entrepot_core.store.database import Cursor, Database
from entrepot_rpc.errors import ServiceError
from entrepot_rpc.server import ErrorInterceptor
from entrepot_rpc.status import from_rpc_error

API = "Bearer api-token"
CONTENT = "Bearer content-token"
ATTEMPT = "Attempt some-token"


def no_database() -> Database:
    """A database that is not there."""
    return Database("host=/nowhere/at/all")


def no_cursor() -> Cursor:
    """A cursor for what must not ask the database: any use is an error."""
    return cast("Cursor", object())


class DeclaredPlugins(Registry):
    """A registry of core and of plugins that declare this."""

    def __init__(self, *responses: describe_pb2.DescribeResponse) -> None:
        super().__init__(no_database())
        self._catalog = Catalog([self._core, *map(Declaration, responses)], revision=1)

    def refresh(self) -> Catalog:
        """Nothing has changed."""
        return self._catalog


AUTHENTICATOR = Authenticator(Callers("api-token"), "content-token")


class Servicing:
    """Calls the methods of one servicer, and raises the ServiceError that a client would see."""

    def __init__(
        self,
        service: ServiceDescriptor,
        register: Callable[[Any, Any], None],
        servicer: object,
    ) -> None:
        self._methods = {one.name: one for one in service.methods}
        handlers = _Handlers()
        register(servicer, handlers)
        interceptors = (ErrorInterceptor(), AUTHENTICATOR)
        intercepted = _Intercepted(service.full_name, handlers.by_name, interceptors)
        self._server = grpc_testing.server_from_dictionary(
            {service: intercepted}, grpc_testing.strict_fake_time(0)
        )

    def call(self, method: str, request: Message, authorization: str | None = API) -> Any:  # noqa: ANN401  any answer
        """The answer to one request."""
        descriptor, metadata = self._methods[method], _metadata(authorization)
        rpc = self._server.invoke_unary_unary(descriptor, metadata, request, None)
        return _answer(*rpc.termination())

    def send(
        self, method: str, requests: Sequence[Message], authorization: str | None = API
    ) -> Any:  # noqa: ANN401  any answer
        """The answer to a stream of requests."""
        descriptor, metadata = self._methods[method], _metadata(authorization)
        rpc = self._server.invoke_stream_unary(descriptor, metadata, None)
        for request in requests:
            rpc.send_request(request)
        rpc.requests_closed()
        return _answer(*rpc.termination())

    def read(
        self, method: str, request: Message, authorization: str | None = API
    ) -> list[Message]:
        """All answers to one request."""
        descriptor, metadata = self._methods[method], _metadata(authorization)
        rpc = self._server.invoke_unary_stream(descriptor, metadata, request, None)
        trailing, code, details = rpc.termination()
        _answer(None, trailing, code, details)
        return list(_taken(rpc))


def pack(message: Message) -> any_pb2.Any:
    """A message in an Any."""
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def _metadata(authorization: str | None) -> tuple[tuple[str, str], ...]:
    return () if authorization is None else (("authorization", authorization),)


def _taken(rpc: Any) -> Iterator[Message]:  # noqa: ANN401  grpc_testing has no types
    while True:
        try:
            yield rpc.take_response()
        except ValueError:  # there are no more
            return


def _answer(response: Message | None, trailing: Any, code: grpc.StatusCode, details: str) -> Any:  # noqa: ANN401  as above
    if code is not grpc.StatusCode.OK:
        raise from_rpc_error(_FailedCall(code, details, trailing))
    if response is not None:
        # What cannot be serialised would fail only on the wire.
        response.SerializeToString()
    return response


class _FailedCall(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, details: str, trailing: Any) -> None:  # noqa: ANN401  as above
        self._parts = (code, details, trailing)

    def code(self) -> grpc.StatusCode:
        return self._parts[0]

    def details(self) -> str:
        return self._parts[1]

    def trailing_metadata(self) -> Any:  # noqa: ANN401  as above
        return self._parts[2]


class _Handlers:
    """What the generated functions register handlers at."""

    def __init__(self) -> None:
        self.by_name: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, handlers: Any) -> None:  # noqa: ANN401  as above
        """The same handlers, that can be asked for by path."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        self.by_name = handlers


@dataclass(frozen=True)
class _Details:
    method: str
    invocation_metadata: Any


class _Aborted(Exception):  # noqa: N818  what `abort_with_status` ends a call with
    pass


class _Context:
    """grpc_testing's context, with the two methods that it lacks."""

    def __init__(self, context: Any) -> None:  # noqa: ANN401  as above
        self._context = context
        self._code: grpc.StatusCode | None = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  as above
        return getattr(self._context, name)

    def code(self) -> grpc.StatusCode | None:
        return self._code

    def abort_with_status(self, status: grpc.Status) -> None:
        self._code = status.code
        self._context.set_code(status.code)
        self._context.set_details(status.details)
        self._context.set_trailing_metadata(status.trailing_metadata)
        raise _Aborted


class _Intercepted:
    """A servicer whose methods are handlers behind interceptors, found anew for each call."""

    def __init__(
        self,
        service: str,
        handlers: dict[str, Any],
        interceptors: Sequence[grpc.ServerInterceptor],
    ) -> None:
        self._service = service
        self._handlers = handlers
        self._interceptors = interceptors

    def __getattr__(self, name: str) -> Callable[[Any, Any], Any]:
        plain = self._handlers[name]

        def behave(request: Any, context: Any) -> Any:  # noqa: ANN401  as above
            details = _Details(f"/{self._service}/{name}", context.invocation_metadata())
            handler = self._chain(plain, 0)(details)
            behavior = handler.unary_unary or handler.unary_stream or handler.stream_unary
            # What a stream without a thread says later is not heard here, only a refusal.
            later = [lambda _: None] if hasattr(behavior, "experimental_non_blocking") else []
            try:
                return behavior(request, _Context(context), *later)
            except _Aborted:
                return None

        def stream(request: Any, context: Any) -> Iterator[Any]:  # noqa: ANN401  as above
            try:
                yield from behave(request, context) or ()
            except _Aborted:
                return

        return stream if plain.response_streaming else behave

    def _chain(self, plain: Any, index: int) -> Callable[[Any], Any]:  # noqa: ANN401  as above
        if index == len(self._interceptors):
            return lambda _details: plain
        return lambda details: self._interceptors[index].intercept_service(
            self._chain(plain, index + 1), details
        )


def refusal(call: Callable[[], object]) -> ServiceError:
    """The error that a call is refused with."""
    try:
        call()
    except ServiceError as error:
        return error
    message = "the call was not refused"
    raise AssertionError(message)


def fields(error: ServiceError) -> list[str]:
    """The fields that an error names."""
    return [one.field for one in error.violations]
