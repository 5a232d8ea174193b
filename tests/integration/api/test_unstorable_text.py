"""Text that PostgreSQL cannot hold, wherever a request may have it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from core_under_test import a_config, errors_of_core, running_api
from entrepot.core.v1 import (
    content_service_pb2,
    content_service_pb2_grpc,
    distribution_service_pb2,
    distribution_service_pb2_grpc,
    plugin_service_pb2,
    plugin_service_pb2_grpc,
    publication_service_pb2,
    publication_service_pb2_grpc,
    remote_service_pb2,
    remote_service_pb2_grpc,
    repository_service_pb2,
    repository_service_pb2_grpc,
    task_service_pb2,
    task_service_pb2_grpc,
)
from entrepot_core.domain.errors import ServiceError

CALLS: list[tuple[Callable[..., Any], str, Message]] = [
    (
        repository_service_pb2_grpc.RepositoryServiceStub,
        "GetRepository",
        repository_service_pb2.GetRepositoryRequest(name="repositories/file/a\0"),
    ),
    (
        repository_service_pb2_grpc.RepositoryServiceStub,
        "ListRepositories",
        repository_service_pb2.ListRepositoriesRequest(parent="repositories/a\0"),
    ),
    (
        repository_service_pb2_grpc.RepositoryServiceStub,
        "GetVersion",
        repository_service_pb2.GetVersionRequest(name="repositories/file/a\0/versions/1"),
    ),
    (
        remote_service_pb2_grpc.RemoteServiceStub,
        "DeleteRemote",
        remote_service_pb2.DeleteRemoteRequest(name="remotes/file/a\0"),
    ),
    (
        distribution_service_pb2_grpc.DistributionServiceStub,
        "ListGuides",
        distribution_service_pb2.ListGuidesRequest(parent="distributions/file/a\0"),
    ),
    (
        publication_service_pb2_grpc.PublicationServiceStub,
        "ListPublications",
        publication_service_pb2.ListPublicationsRequest(parent="publications/a\0"),
    ),
    (
        content_service_pb2_grpc.ContentServiceStub,
        "ListContent",
        content_service_pb2.ListContentRequest(parent="repositories/file/a\0/versions/1"),
    ),
    (
        plugin_service_pb2_grpc.PluginServiceStub,
        "GetPlugin",
        plugin_service_pb2.GetPluginRequest(name="plugins/a\0"),
    ),
    (
        task_service_pb2_grpc.TaskServiceStub,
        "ListTasks",
        task_service_pb2.ListTasksRequest(resource="repositories/file/a\0"),
    ),
    (
        task_service_pb2_grpc.TaskServiceStub,
        "CreateTask",
        task_service_pb2.CreateTaskRequest(request_id="a\0"),
    ),
]


def test_a_nul_character_is_the_callers_mistake(core_dsn: str, tmp_path: Path) -> None:
    """A name with a NUL character is refused as invalid, and is no internal error."""
    reasons = {}

    with running_api(a_config(core_dsn, tmp_path)) as core:
        for stub, method, request in CALLS:
            with pytest.raises(ServiceError) as refused, errors_of_core():
                getattr(stub(core.channel), method)(request, metadata=core.metadata, timeout=20)
            reasons[method] = refused.value.reason

    assert {method: "FIELD_INVALID" for _, method, _ in CALLS} == reasons
