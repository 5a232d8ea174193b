"""A threaded gRPC server with health and reflection, where every error becomes a status."""

from __future__ import annotations

import time
from concurrent import futures
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from entrepot_rpc import correlation, tracing
from entrepot_rpc.channel import MAX_MESSAGE_BYTES
from entrepot_rpc.errors import Code, ServiceError
from entrepot_rpc.status import to_grpc_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

__all__ = ["CallObserver", "ErrorInterceptor", "Server", "known", "non_blocking"]

log = structlog.get_logger()

Behavior = TypeVar("Behavior", bound="Callable[..., Any]")

# How long calls that are canceled at the end of the grace may take to notice.
_CANCELED_SECONDS = 5.0


def non_blocking(behavior: Behavior) -> Behavior:
    """Marks a method with a stream of responses that is given `send` as its third argument.

    It returns at once and keeps no thread; `send(message)` and `send(None)`, for the end, may be
    called later, by any thread. grpc calls this experimental; its own health service relies on it.
    """
    behavior.experimental_non_blocking = True  # type: ignore[attr-defined]
    return behavior


class CallObserver(Protocol):
    """Is told of calls."""

    def answered(self, method: str, code: str, seconds: float) -> None:
        """A call of "/package.Service/Method" has ended with a status."""


class Server:
    """Serves gRPC on one address until stopped."""

    def __init__(
        self,
        address: str,
        *,
        threads: int = 32,
        interceptors: Sequence[grpc.ServerInterceptor] = (),
        pools: Mapping[str, futures.ThreadPoolExecutor] | None = None,
        calls: CallObserver | None = None,
    ) -> None:
        """`pools`, by "/package.Service/Method", are threads for methods that wait long.

        `calls` is told of every call that ends.
        """
        self._server = grpc.server(
            futures.ThreadPoolExecutor(max_workers=threads, thread_name_prefix="rpc"),
            interceptors=[ErrorInterceptor(pools, calls), *interceptors],
            options=(
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),
                ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
                ("grpc.http2.max_ping_strikes", 0),
            ),
        )
        self._address = address
        self._health = health.HealthServicer()
        self._services: list[str] = []
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    def add(self, name: str, register: Callable[[grpc.Server], None]) -> None:
        """Adds a service: its full name, and what registers its servicer."""
        register(self._server)
        self._services.append(name)

    def start(self, descriptor_pool: Any = None) -> str:  # noqa: ANN401  anything with the pool's look-ups
        """Starts to serve and returns the address with the real port. OSError if it is taken.

        `descriptor_pool` replaces the default one for reflection: types known only at run time.
        """
        names = [*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME]
        pool = {} if descriptor_pool is None else {"pool": descriptor_pool}
        reflection.enable_server_reflection(names, self._server, **pool)
        try:
            port = self._server.add_insecure_port(self._address)
        except RuntimeError as error:
            message = f"Cannot listen on {self._address}: {error}"
            raise OSError(message) from error
        self._server.start()
        for name in ("", *self._services):
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        host, _, asked = self._address.rpartition(":")
        return f"{host}:{port}" if asked.isdigit() else self._address

    def stop(self, grace_seconds: float = 5) -> None:
        """Says NOT_SERVING, takes no new calls, waits for those under way, the grace at most."""
        self._health.enter_graceful_shutdown()
        # Never if the thread that serves has died.
        self._server.stop(grace_seconds).wait(grace_seconds + _CANCELED_SECONDS)

    def wait(self) -> None:
        """Blocks until the server has stopped."""
        self._server.wait_for_termination()


class ErrorInterceptor(grpc.ServerInterceptor):
    """Turns exceptions into statuses: a ServiceError into its own, any other into INTERNAL."""

    def __init__(
        self,
        pools: Mapping[str, futures.ThreadPoolExecutor] | None = None,
        calls: CallObserver | None = None,
    ) -> None:
        self._pools = pools or {}
        self._calls = calls

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:  # noqa: ANN401
        """Wraps the handler of the call."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        origin = _Origin(handler_call_details, self._calls)
        if handler.response_streaming:
            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            behavior = handler.stream_stream or handler.unary_stream
            wrapped: Any = _guard_stream(behavior, origin)
        else:
            make = (
                grpc.stream_unary_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_unary_rpc_method_handler
            )
            behavior = handler.stream_unary or handler.unary_unary
            wrapped = _guard(behavior, origin)
        if getattr(behavior, "experimental_non_blocking", False):
            wrapped = non_blocking(_guard(behavior, origin))
        if method in self._pools:
            wrapped.experimental_thread_pool = self._pools[method]
        return make(wrapped, handler.request_deserializer, handler.response_serializer)


class _Origin:
    """What a call is, and which request it is made for."""

    def __init__(self, details: Any, calls: CallObserver | None) -> None:  # noqa: ANN401  grpc's
        self.method: str = details.method
        self.request_id = correlation.incoming(details.invocation_metadata)
        self._calls = calls
        self._began = time.monotonic()
        self._parent = tracing.incoming(details.invocation_metadata)

    def ended(self, error: Exception | None = None) -> None:
        """Tells who observes calls how this one has ended."""
        if self._calls is None:
            return
        code = "OK"
        if isinstance(error, ServiceError):
            code = error.code.name
        elif error is not None:
            code = "CANCELLED" if isinstance(error, grpc.RpcError) else "INTERNAL"
        self._calls.answered(self.method, code, time.monotonic() - self._began)

    def span(self) -> AbstractContextManager[Any]:
        return tracing.continued(self.method.removeprefix("/"), self._parent)


def _guard(behavior: Callable[..., Any], origin: _Origin) -> Callable[..., Any]:
    def guarded(request: Any, context: Any, *send: Any) -> Any:  # noqa: ANN401
        correlation.enter(origin.request_id)
        try:
            with origin.span():
                response = behavior(request, context, *send)
        except Exception as error:  # noqa: BLE001  the one place where every error ends
            origin.ended(error)
            return _abort(error, context, origin.method)
        else:
            origin.ended()
            return response
        finally:
            # The thread serves others after this.
            correlation.clear()

    return guarded


def _guard_stream(
    behavior: Callable[[Any, Any], Any], origin: _Origin
) -> Callable[[Any, Any], Any]:
    def guarded(request: Any, context: Any) -> Iterator[Any]:  # noqa: ANN401
        correlation.enter(origin.request_id)
        try:
            with origin.span():
                yield from behavior(request, context)
        except Exception as error:  # noqa: BLE001  the one place where every error ends
            origin.ended(error)
            _abort(error, context, origin.method)
        else:
            origin.ended()
        finally:
            correlation.clear()

    return guarded


def known(error: Exception, method: str) -> ServiceError:
    """The error itself if it is one for clients; else it is logged, and one that says so."""
    if isinstance(error, ServiceError):
        return error
    request_id = correlation.current_request_id() or correlation.new_request_id()
    log.error("rpc.failed", method=method, request_id=request_id, exc_info=error)
    return ServiceError.of(
        Code.INTERNAL,
        "INTERNAL",
        "Something went wrong inside Entrepot. The log has more under this request id.",
        metadata={"request_id": request_id},
    )


def _abort(error: Exception, context: Any, method: str) -> None:  # noqa: ANN401
    if context.code() is not None:
        # context.abort was called, or has been interrupted by the client's going away.
        raise error
    if isinstance(error, grpc.RpcError) and not context.is_active():
        # So was the reading of a stream of requests.
        raise error
    context.abort_with_status(to_grpc_status(known(error, method)))
