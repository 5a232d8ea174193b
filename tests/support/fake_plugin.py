"""A plugin that does what a test tells it, over real gRPC, in this process."""

import threading
from collections.abc import Callable, Iterator
from concurrent import futures

import grpc

from addresses import free_addresses
from declarations import file_plugin
from entrepot.plugin.v1 import describe_pb2, plugin_tasks_pb2, plugin_tasks_pb2_grpc

Execute = Callable[
    [plugin_tasks_pb2.ExecuteRequest, grpc.ServicerContext],
    Iterator[plugin_tasks_pb2.ExecuteResponse],
]


def completed() -> plugin_tasks_pb2.ExecuteResponse:
    """The event that ends an attempt well."""
    return plugin_tasks_pb2.ExecuteResponse(completed=plugin_tasks_pb2.Completed())


def completes(
    _request: plugin_tasks_pb2.ExecuteRequest, _context: grpc.ServicerContext
) -> Iterator[plugin_tasks_pb2.ExecuteResponse]:
    """Completes at once."""
    yield completed()


class FakePlugin(plugin_tasks_pb2_grpc.PluginTasksServicer):
    """Answers with `declaration`, `diagnostics` and what `execute` yields; keeps all requests."""

    def __init__(self, declaration: describe_pb2.DescribeResponse | None = None) -> None:
        self.declaration = declaration or file_plugin()
        self.validation = plugin_tasks_pb2.ValidateResponse()
        self.execute: Execute = completes
        # Called when an answer to Describe has been decided on, and not been sent yet.
        self.described: Callable[[], None] = lambda: None
        self.validated: list[plugin_tasks_pb2.ValidateRequest] = []
        self.executed: list[plugin_tasks_pb2.ExecuteRequest] = []
        self.released = threading.Event()
        self.target = ""
        self._server: grpc.Server | None = None

    def start(self, address: str = "") -> "FakePlugin":
        """Begins to serve, on a port of its own or again on the one it had."""
        server = grpc.server(futures.ThreadPoolExecutor(16), options=(("grpc.so_reuseport", 0),))
        plugin_tasks_pb2_grpc.add_PluginTasksServicer_to_server(self, server)
        port = server.add_insecure_port(self.target or address or free_addresses(1)[0])
        server.start()
        self.target = f"127.0.0.1:{port}"
        self._server = server
        return self

    def stop(self, grace_seconds: float | None = None) -> None:
        """Ends, at once or after a grace; streams break."""
        if self._server is not None:
            stopped = self._server.stop(grace_seconds)
            self.released.set()
            stopped.wait()
            self._server = None
        self.released.set()

    def Describe(
        self, request: describe_pb2.DescribeRequest, context: grpc.ServicerContext
    ) -> describe_pb2.DescribeResponse:
        declaration = self.declaration
        self.described()
        return declaration

    def Validate(
        self, request: plugin_tasks_pb2.ValidateRequest, context: grpc.ServicerContext
    ) -> plugin_tasks_pb2.ValidateResponse:
        self.validated.append(request)
        return self.validation

    def Execute(
        self, request: plugin_tasks_pb2.ExecuteRequest, context: grpc.ServicerContext
    ) -> Iterator[plugin_tasks_pb2.ExecuteResponse]:
        self.executed.append(request)
        yield from self.execute(request, context)
