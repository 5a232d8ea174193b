"""Core as it is wired in production, in this process: an api, a dispatcher, and a plugin."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message

from entrepot.core.v1 import (
    limit_service_pb2_grpc,
    plugin_service_pb2,
    plugin_service_pb2_grpc,
    status_service_pb2_grpc,
    task_service_pb2,
    task_service_pb2_grpc,
    token_service_pb2,
    token_service_pb2_grpc,
    upload_service_pb2_grpc,
)
from entrepot_core.api.server import ApiServer
from entrepot_core.config import Config
from entrepot_core.dispatch.process import DispatchProcess
from entrepot_core.store import remotes, repositories
from entrepot_core.store.database import Database
from entrepot_rpc.channel import connect
from entrepot_rpc.errors import ServiceError
from entrepot_rpc.status import from_rpc_error
from fake_plugin import FakePlugin

TOKEN = "admin-token-of-a-test"


def a_config(dsn: str, home: Path, *, heartbeat_timeout: float = 60, slots: int = 8) -> Config:
    """Settings for processes of a test."""
    return Config.from_environment(
        {
            "ENTREPOT_HOME": str(home),
            "ENTREPOT_GRPC": "127.0.0.1:0",
            "ENTREPOT_DATABASE_URL": dsn,
            "ENTREPOT_TOKEN": TOKEN,
            "ENTREPOT_CONTENT_TOKEN": "content-token-of-a-test",
            "ENTREPOT_DISPATCHER_SLOTS": str(slots),
            "ENTREPOT_HEARTBEAT_TIMEOUT": str(heartbeat_timeout),
        }
    )


@dataclass
class Core:
    """A running core, and stubs that call it."""

    config: Config
    database: Database
    address: str
    channel: grpc.Channel
    token: str = TOKEN

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.token}"),)

    @property
    def tokens(self) -> token_service_pb2_grpc.TokenServiceStub:
        return token_service_pb2_grpc.TokenServiceStub(self.channel)

    @property
    def uploads(self) -> upload_service_pb2_grpc.UploadServiceStub:
        return upload_service_pb2_grpc.UploadServiceStub(self.channel)

    @property
    def tasks(self) -> task_service_pb2_grpc.TaskServiceStub:
        return task_service_pb2_grpc.TaskServiceStub(self.channel)

    @property
    def plugins(self) -> plugin_service_pb2_grpc.PluginServiceStub:
        return plugin_service_pb2_grpc.PluginServiceStub(self.channel)

    @property
    def limits(self) -> limit_service_pb2_grpc.LimitServiceStub:
        return limit_service_pb2_grpc.LimitServiceStub(self.channel)

    @property
    def status(self) -> status_service_pb2_grpc.StatusServiceStub:
        return status_service_pb2_grpc.StatusServiceStub(self.channel)

    def called_by(self, principal: str) -> "Core":
        """The same, called with a new token of this name."""
        request = token_service_pb2.CreateTokenRequest(
            token=token_service_pb2.Token(name=principal)
        )
        made = self.tokens.CreateToken(request, metadata=self.metadata, timeout=60)
        return replace(self, token=made.token.secret)

    def revoke(self, principal: str) -> None:
        """Takes the token of this name its rights."""
        request = token_service_pb2.DeleteTokenRequest(name=f"tokens/{principal}")
        self.tokens.DeleteToken(request, metadata=self.metadata, timeout=60)

    def register(self, plugin: FakePlugin) -> plugin_service_pb2.Plugin:
        """Registers a plugin that serves."""
        request = plugin_service_pb2.CreatePluginRequest(
            plugin=plugin_service_pb2.Plugin(target=plugin.target)
        )
        return self.plugins.CreatePlugin(request, metadata=self.metadata, timeout=60).plugin

    def create(
        self,
        parameters: Message,
        wait: float = 0,
        **fields: Any,  # noqa: ANN401  fields of the request
    ) -> task_service_pb2.Task:
        """Creates a task. Raises ServiceError if it is refused."""
        request = task_service_pb2.CreateTaskRequest(parameters=pack(parameters), **fields)
        request.wait.FromNanoseconds(int(wait * 1e9))
        with errors_of_core():
            return self.tasks.CreateTask(request, metadata=self.metadata, timeout=60 + wait).task

    def commit_plan(self, name: str, wait: float = 0) -> task_service_pb2.Task:
        """Approves the plan of a dry run. Raises ServiceError if it is refused."""
        request = task_service_pb2.CommitPlanRequest(name=name)
        request.wait.FromNanoseconds(int(wait * 1e9))
        with errors_of_core():
            return self.tasks.CommitPlan(request, metadata=self.metadata, timeout=60 + wait).task

    def read(self, name: str, wait: float = 0) -> task_service_pb2.Task:
        """Reads a task."""
        request = task_service_pb2.GetTaskRequest(name=name)
        request.wait.FromNanoseconds(int(wait * 1e9))
        with errors_of_core():
            return self.tasks.GetTask(request, metadata=self.metadata, timeout=60 + wait).task

    def cancel(self, name: str) -> task_service_pb2.Task:
        """Asks a task to stop."""
        request = task_service_pb2.CancelTaskRequest(
            name=name, state=task_service_pb2.Task.STATE_CANCELED
        )
        with errors_of_core():
            return self.tasks.CancelTask(request, metadata=self.metadata, timeout=60).task


def pack(message: Message) -> any_pb2.Any:
    """A message in an Any."""
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


@contextmanager
def errors_of_core() -> Iterator[None]:
    """Raises the ServiceError that a failed call carries."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error


def a_repository(database: Database, name: str = "foo") -> str:
    """A new repository of the file plugin."""
    with database.transaction() as cursor:
        return repositories.create(cursor, {"plugin": "file", "name": name}).full_name


def a_remote(database: Database, name: str = "bar") -> str:
    """A new remote of the file plugin."""
    with database.transaction() as cursor:
        return remotes.create(
            cursor, {"plugin": "file", "name": name, "url": "http://127.0.0.1:9/PULP_MANIFEST"}
        ).full_name


@contextmanager
def running_api(config: Config) -> Iterator[Core]:
    """An api process without a dispatcher."""
    server = ApiServer(config)
    address = server.start()
    channel = connect(address)
    try:
        yield Core(config, server.database, address, channel)
    finally:
        channel.close()
        server.stop(grace_seconds=2)


@contextmanager
def running_dispatch(
    config: Config, grace_seconds: float = 2, cancel_grace_seconds: float = 30
) -> Iterator[DispatchProcess]:
    """A dispatch process."""
    process = DispatchProcess(config, cancel_grace_seconds=cancel_grace_seconds)
    process.start()
    try:
        yield process
    finally:
        with suppress(ServiceError):
            process.stop(grace_seconds)
