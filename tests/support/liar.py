"""A plugin in the process of the test: goes down, comes back, and describes itself wrongly.

It is written against the bare protos, because the SDK would not let it. Its one task type is
`liar/lies`, whose field `behavior` says what to do. What a plugin can do wrong once it has been
accepted, the graph plugin does.
"""

import hashlib
import threading
import uuid
from collections.abc import Iterator
from concurrent import futures
from importlib.resources import files
from types import TracebackType
from typing import Any, Self, cast

import grpc
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from google.rpc import status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from addresses import free_addresses
from entrepot.core.v1 import workspace_service_pb2, workspace_service_pb2_grpc
from entrepot.plugin.v1 import describe_pb2, plugin_tasks_pb2, plugin_tasks_pb2_grpc
from entrepot.type.v1 import content_pb2, digest_pb2

FieldProto = descriptor_pb2.FieldDescriptorProto
Execute = plugin_tasks_pb2.ExecuteResponse
PACKAGE = "entrepot.plugins.liar.v1"


class Liar(plugin_tasks_pb2_grpc.PluginTasksServicer):
    """Serves the plugin on a port of this process, from enter to exit.

    Args:
        core: Address of core's gRPC.
    """

    def __init__(self, core: str) -> None:
        self.core = core
        self.address = ""
        # What Describe answers instead of the truth.
        self.description: describe_pb2.DescribeResponse | None = None
        # Token of the last attempt that was told to keep it.
        self.token = ""
        self.started = threading.Event()
        self.release = threading.Event()
        self.attempts = 0
        self._server: grpc.Server | None = None

    def __enter__(self) -> Self:
        self.serve(*free_addresses(1))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release.set()
        self.stop()

    def serve(self, address: str) -> None:
        """Start to serve."""
        self._server = grpc.server(
            futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)]
        )
        plugin_tasks_pb2_grpc.add_PluginTasksServicer_to_server(self, self._server)
        checks = health.HealthServicer()
        for service in ("", "entrepot.plugin.v1.PluginTasks"):
            checks.set(service, health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(checks, self._server)
        port = self._server.add_insecure_port(address)
        self.address = f"127.0.0.1:{port}"
        self._server.start()

    def stop(self) -> None:
        """Go down, and break what runs."""
        if self._server is not None:
            self._server.stop(None).wait(60)

    def Describe(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ANN401
        return self.description or honest_description()

    def Validate(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ANN401
        return plugin_tasks_pb2.ValidateResponse()

    def Execute(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: ANN401
        self.attempts += 1
        lie = LIE.FromString(request.parameters.value)
        self.started.set()
        yield Execute(heartbeat=plugin_tasks_pb2.Heartbeat())
        yield from getattr(self, f"_{lie.behavior}")(request)

    def _complete(self, request: Any) -> Iterator[Any]:  # noqa: ANN401
        yield Execute(completed=plugin_tasks_pb2.Completed())

    def _keep_token(self, request: Any) -> Iterator[Any]:  # noqa: ANN401
        self.token = request.attempt_token
        yield Execute(completed=plugin_tasks_pb2.Completed())

    def _wait(self, request: Any) -> Iterator[Any]:  # noqa: ANN401
        self.release.wait(120)
        yield Execute(completed=plugin_tasks_pb2.Completed())

    def _foreign_token(self, request: Any) -> Iterator[Any]:  # noqa: ANN401
        yield self._stage(self.token, "honest.txt")

    def _stage(self, token: str, path: str) -> Any:  # noqa: ANN401
        """Stage a unit, and pass on what core says to that."""
        unit = content_pb2.ContentUnit(
            attributes=_pack(UNIT(path=path)),
            artifacts=[
                content_pb2.Artifact(
                    relative_path=path,
                    digests=[
                        digest_pb2.Digest(
                            algorithm=digest_pb2.Digest.ALGORITHM_SHA256,
                            hex=hashlib.sha256(b"").hexdigest(),
                            size_bytes=0,
                        )
                    ],
                )
            ],
        )
        staged = workspace_service_pb2.StageChangesRequest(
            repository_role="repository", sequence=1, adds=[unit]
        )
        with grpc.insecure_channel(self.core) as channel:
            stub = workspace_service_pb2_grpc.WorkspaceServiceStub(channel)
            try:
                stub.StageChanges(
                    staged, metadata=(("authorization", f"Attempt {token}"),), timeout=60
                )
            except grpc.RpcError as error:
                status = rpc_status.from_call(cast("grpc.Call", error)) or status_pb2.Status(
                    code=2, message=str(error)
                )
                return Execute(failed=plugin_tasks_pb2.Failed(status=status))
        return Execute(completed=plugin_tasks_pb2.Completed())


def honest_description() -> describe_pb2.DescribeResponse:
    """What the plugin is, truthfully."""
    response = describe_pb2.DescribeResponse(
        task_types=[
            describe_pb2.TaskType(
                collection="lies",
                parameters_message=f"{PACKAGE}.Lie",
                creates=describe_pb2.RESOURCE_KIND_REPOSITORY_VERSION,
                repeatable=True,
                implementation=describe_pb2.TaskType.IMPLEMENTATION_PLUGIN,
            )
        ],
        content_types=[
            describe_pb2.ContentType(
                name="liar.unit",
                collection="units",
                attributes_message=f"{PACKAGE}.Unit",
                key_fields=["path"],
                repository_key_fields=["path"],
                filterable_fields=["path"],
            )
        ],
        resource_types=[
            describe_pb2.ResourceType(kind=describe_pb2.RESOURCE_KIND_REPOSITORY),
        ],
        descriptors=_FILES,
        max_concurrent_attempts=4,
    )
    digest = hashlib.sha256(response.SerializeToString(deterministic=True)).hexdigest()
    response.declaration_digest = digest
    response.name = "liar"
    response.version = "0.1.0"
    response.instance_id = uuid.uuid4().hex
    return response


def _own_file() -> descriptor_pb2.FileDescriptorProto:
    reference = descriptor_pb2.FieldOptions()
    reference.Extensions[describe_pb2.reference].kind = describe_pb2.RESOURCE_KIND_REPOSITORY
    reference.Extensions[describe_pb2.reference].access = describe_pb2.Reference.ACCESS_EXCLUSIVE

    def text(name: str, number: int, options: Any = None) -> FieldProto:  # noqa: ANN401
        return FieldProto(
            name=name,
            number=number,
            type=FieldProto.TYPE_STRING,
            label=FieldProto.LABEL_OPTIONAL,
            options=options,
        )

    return descriptor_pb2.FileDescriptorProto(
        name="entrepot/plugins/liar/v1/liar.proto",
        package=PACKAGE,
        syntax="proto3",
        dependency=["entrepot/plugin/v1/describe.proto"],
        message_type=[
            descriptor_pb2.DescriptorProto(
                name="Lie", field=[text("repository", 1, reference), text("behavior", 2)]
            ),
            descriptor_pb2.DescriptorProto(name="Unit", field=[text("path", 1)]),
        ],
    )


def _with_imports(own: descriptor_pb2.FileDescriptorProto) -> descriptor_pb2.FileDescriptorSet:
    data = files("entrepot").joinpath("descriptors.binpb").read_bytes()
    known = {file.name: file for file in descriptor_pb2.FileDescriptorSet.FromString(data).file}
    chosen: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def choose(file: descriptor_pb2.FileDescriptorProto) -> None:
        for name in file.dependency:
            if name not in chosen:
                choose(known[name])
        chosen[file.name] = file

    choose(own)
    return descriptor_pb2.FileDescriptorSet(file=chosen.values())


def _pack(message: Any) -> any_pb2.Any:  # noqa: ANN401
    return any_pb2.Any(
        type_url=f"type.googleapis.com/{message.DESCRIPTOR.full_name}",
        value=message.SerializeToString(),
    )


_FILES = _with_imports(_own_file())
_POOL = descriptor_pool.DescriptorPool()
for _file in _FILES.file:
    _POOL.Add(_file)
LIE: Any = message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.Lie"))
UNIT: Any = message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.Unit"))
