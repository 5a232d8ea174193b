"""A server that answers as a test says, over real gRPC, and remembers what it was asked."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from entrepot.core.v1 import (
    content_service_pb2,
    distribution_service_pb2,
    limit_service_pb2,
    plugin_service_pb2,
    remote_service_pb2,
    repository_service_pb2,
    status_service_pb2,
    task_service_pb2,
    token_service_pb2,
    upload_service_pb2,
)
from entrepot.plugin.v1 import describe_pb2
from entrepot_cli import app
from entrepot_rpc.comment import core_files
from entrepot_rpc.errors import ServiceError
from entrepot_rpc.status import to_grpc_status

MODULES = (
    content_service_pb2,
    distribution_service_pb2,
    limit_service_pb2,
    plugin_service_pb2,
    remote_service_pb2,
    repository_service_pb2,
    status_service_pb2,
    task_service_pb2,
    token_service_pb2,
    upload_service_pb2,
)
Answer = Callable[[Any], Any]


def file_plugin() -> describe_pb2.DescribeResponse:
    """What a plugin of plain files declares."""
    package = "entrepot.plugins.file.v1"
    names = {"syncs": "Sync", "adds": "Add", "removes": "Remove", "uploads": "Upload"}
    return describe_pb2.DescribeResponse(
        name="file",
        version="0.1.0",
        declaration_digest="d1",
        task_types=[
            describe_pb2.TaskType(collection=name, parameters_message=f"{package}.{message}")
            for name, message in names.items()
        ],
        content_types=[
            describe_pb2.ContentType(
                name="file.file", collection="files", attributes_message=f"{package}.File"
            )
        ],
        descriptors=core_files(),
    )


class FakeCore(grpc.GenericRpcHandler):
    """Core as the command line sees it. Every rpc without an answer is UNIMPLEMENTED."""

    def __init__(self) -> None:
        declared = plugin_service_pb2.WatchPluginsResponse(declarations=[file_plugin()])
        self.answers: dict[str, Answer] = {"WatchPlugins": lambda _: [declared]}
        self.requests: list[Any] = []
        self.tokens: set[str] = set()
        self._methods: dict[str, MethodDescriptor] = {
            f"/{service.full_name}/{method.name}": method
            for module in MODULES
            for service in module.DESCRIPTOR.services_by_name.values()
            for method in service.methods
        }

    def asked(self, kind: type) -> list[Any]:
        """The requests of one kind, in their order."""
        return [request for request in self.requests if isinstance(request, kind)]

    def service(self, details: grpc.HandlerCallDetails) -> Any:  # noqa: ANN401
        """The handler of a call."""
        method = self._methods.get(details.method)
        if method is None or method.name not in self.answers:
            return None
        self.tokens |= {
            str(value) for key, value in details.invocation_metadata if key == "authorization"
        }
        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
        }[method.client_streaming, method.server_streaming]
        return make(
            self._streamed(method) if method.server_streaming else self._single(method),
            request_deserializer=GetMessageClass(method.input_type).FromString,
            response_serializer=GetMessageClass(method.output_type).SerializeToString,
        )

    def _single(self, method: MethodDescriptor) -> Callable[[Any, grpc.ServicerContext], Any]:
        def answer(request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ANN401
            request = list(request) if method.client_streaming else request
            self.requests.append(request)
            try:
                return self.answers[method.name](request)
            except ServiceError as error:
                context.abort_with_status(to_grpc_status(error))

        return answer

    def _streamed(self, method: MethodDescriptor) -> Callable[[Any, grpc.ServicerContext], Any]:
        def answer(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: ANN401
            self.requests.append(request)
            try:
                yield from self.answers[method.name](request)
            except ServiceError as error:
                context.abort_with_status(to_grpc_status(error))

        return answer


@dataclass
class Result:
    """What a command did."""

    status: int
    out: str
    err: str


@dataclass
class Cli:
    """Runs commands against the fake."""

    core: FakeCore
    home: Path
    capsys: pytest.CaptureFixture[str]
    # Set at the end, so that no stream of the fake outlives its test.
    stopped: threading.Event = field(default_factory=threading.Event)

    def __call__(self, *words: str) -> Result:
        """Run a command in this process."""
        try:
            status = app.main(list(words))
        except SystemExit as end:
            status = int(end.code or 0)
        captured = self.capsys.readouterr()
        return Result(status, captured.out, captured.err)


def a_task(**fields: Any) -> task_service_pb2.Task:  # noqa: ANN401
    """A task that has completed, unless said otherwise."""
    defaults: dict[str, Any] = {
        "name": "tasks/0190",
        "task_type": "file/syncs",
        "state": task_service_pb2.Task.STATE_COMPLETED,
    }
    return task_service_pb2.Task(**{**defaults, **fields})


def watching(*tasks: task_service_pb2.Task) -> Answer:
    """An answer to WatchTask: the task as it changes."""
    responses = [
        task_service_pb2.WatchTaskResponse(task=task, sequence=number)
        for number, task in enumerate(tasks)
    ]
    return lambda _: responses
