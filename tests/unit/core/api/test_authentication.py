"""Tokens: which one allows what, and that a refusal says nothing about them."""

import hmac
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from entrepot.core.v1 import (
    blob_service_pb2,
    blob_service_pb2_grpc,
    serving_service_pb2,
    serving_service_pb2_grpc,
    task_service_pb2,
    task_service_pb2_grpc,
)
from entrepot_core.api.authentication import Authenticator, attempt_token
from entrepot_core.api.callers import Callers
from entrepot_core.domain.errors import UnauthenticatedError
from unconnected_core import API, ATTEMPT, AUTHENTICATOR, CONTENT, Servicing, refusal


class Echo:
    """Lets every call through and remembers what its context says of the caller."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str | None]] = []

    def answer(self, context: grpc.ServicerContext, response: Message) -> Any:  # noqa: ANN401  any answer
        """The answer."""
        principal = AUTHENTICATOR.principal_of(context) if isinstance(self, Tasks) else ""
        self.seen.append((principal, attempt_token(context)))
        return response


class Tasks(task_service_pb2_grpc.TaskServiceServicer, Echo):
    """A service for users."""

    def GetTask(
        self, request: task_service_pb2.GetTaskRequest, context: grpc.ServicerContext
    ) -> Any:  # noqa: ANN401  as above
        """Answers."""
        return self.answer(context, task_service_pb2.GetTaskResponse())


class Blobs(blob_service_pb2_grpc.BlobServiceServicer, Echo):
    """A service for attempts."""

    def FindMissingBlobs(
        self, request: blob_service_pb2.FindMissingBlobsRequest, context: grpc.ServicerContext
    ) -> Any:  # noqa: ANN401  as above
        """Answers."""
        return self.answer(context, blob_service_pb2.FindMissingBlobsResponse())


class Serving(serving_service_pb2_grpc.ServingServiceServicer, Echo):
    """A service for the content origin."""

    def ResolvePointer(
        self, request: serving_service_pb2.ResolvePointerRequest, context: grpc.ServicerContext
    ) -> Any:  # noqa: ANN401  as above
        """Answers."""
        return self.answer(context, serving_service_pb2.ResolvePointerResponse())


SERVICES: dict[str, tuple[ServiceDescriptor, Any, Any, str, Message]] = {
    "tasks": (
        task_service_pb2.DESCRIPTOR.services_by_name["TaskService"],
        task_service_pb2_grpc.add_TaskServiceServicer_to_server,
        Tasks,
        "GetTask",
        task_service_pb2.GetTaskRequest(),
    ),
    "blobs": (
        blob_service_pb2.DESCRIPTOR.services_by_name["BlobService"],
        blob_service_pb2_grpc.add_BlobServiceServicer_to_server,
        Blobs,
        "FindMissingBlobs",
        blob_service_pb2.FindMissingBlobsRequest(),
    ),
    "serving": (
        serving_service_pb2.DESCRIPTOR.services_by_name["ServingService"],
        serving_service_pb2_grpc.add_ServingServiceServicer_to_server,
        Serving,
        "ResolvePointer",
        serving_service_pb2.ResolvePointerRequest(),
    ),
}


def call(service: str, authorization: str | None) -> list[tuple[str, str | None]]:
    """Who the servicer saw; raises what the call is refused with."""
    descriptor, register, servicer_class, method, request = SERVICES[service]
    servicer = servicer_class()
    Servicing(descriptor, register, servicer).call(method, request, authorization)
    seen: list[tuple[str, str | None]] = servicer.seen
    return seen


@pytest.mark.parametrize(
    ("service", "authorization"),
    [
        ("tasks", API),
        ("tasks", "bearer api-token"),
        ("tasks", "BEARER api-token"),
        ("blobs", API),
        ("serving", API),
        ("serving", CONTENT),
    ],
)
def test_the_right_token_is_let_through(service: str, authorization: str) -> None:
    """A user's token is for everything, the content origin's for what it serves."""
    assert [("admin" if service == "tasks" else "", None)] == call(service, authorization)


@pytest.mark.parametrize(
    ("authorization", "token"), [(ATTEMPT, "some-token"), ("ATTEMPT x", "x"), ("Attempt ", "")]
)
def test_the_token_of_an_attempt_is_passed_on(authorization: str, token: str) -> None:
    """Whose attempt it is, is decided by the service, which knows the workspaces."""
    assert [("", token)] == call("blobs", authorization)


@pytest.mark.parametrize("service", list(SERVICES))
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer api-toke",
        "Bearer api-token2",
        "Bearer  api-token",
        "Bearer api-token ",
        "Bearer API-TOKEN",
        "Basic api-token",
        "api-token",
        "Bearerapi-token",
    ],
)
def test_any_other_token_is_refused(service: str, authorization: str | None) -> None:
    """No service is open without a token or to a wrong one, and no answer repeats it."""
    error = refusal(lambda: call(service, authorization))

    assert ("UNAUTHENTICATED", "UNAUTHENTICATED") == (error.code.name, error.reason)
    assert "api-tok" not in error.message


@pytest.mark.parametrize(
    ("service", "authorization"),
    [
        ("tasks", CONTENT),
        ("blobs", CONTENT),
        ("tasks", ATTEMPT),
        ("serving", ATTEMPT),
        ("tasks", "Attempt api-token"),
    ],
)
def test_a_token_is_for_its_own_services(service: str, authorization: str) -> None:
    """The content origin and attempts get no further than the services that are for them."""
    error = refusal(lambda: call(service, authorization))

    assert ("PERMISSION_DENIED", "PERMISSION_DENIED") == (error.code.name, error.reason)


@pytest.mark.parametrize("authorization", [None, "", "Bearer ", "Attempt", API])
@pytest.mark.parametrize("configured", [("", ""), ("", "content-token")])
def test_no_configured_token_is_no_empty_token(
    authorization: str | None, configured: tuple[str, str]
) -> None:
    """If core has no token for users, nobody is one, least of all who sends nothing."""
    admin, content = configured
    authenticator = Authenticator(Callers(admin), content)

    error = authenticator._refusal("entrepot.core.v1.TaskService", authorization or "")

    assert error is not None


@pytest.mark.parametrize("service", ["grpc.health.v1.Health", "grpc.reflection.v1alpha.X"])
def test_health_and_reflection_are_open(service: str) -> None:
    """Those who watch processes need no token."""
    assert Authenticator(Callers("a"), "b")._refusal(service, "") is None


@pytest.mark.parametrize("service", ["grpc.healthy.v1.Health", "entrepot.core.v1.NewService"])
def test_a_service_nobody_thought_of_is_closed(service: str) -> None:
    """Open is what is listed, and not what looks like it."""
    assert isinstance(Authenticator(Callers("a"), "b")._refusal(service, ""), UnauthenticatedError)


@pytest.mark.parametrize("token", ["api-token", "content-token", "wrong", "api-tokem"])
def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """Digests of one length are compared, with both tokens always, by what takes equal time."""
    compared: list[tuple[bytes, bytes]] = []
    original = hmac.compare_digest

    def recorded(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return original(one, other)

    monkeypatch.setattr(hmac, "compare_digest", recorded)
    authenticator = Authenticator(Callers("api-token"), "content-token")

    authenticator._refusal("entrepot.core.v1.ServingService", f"Bearer {token}")

    assert len({other for _, other in compared}) == 2
    assert {(32, 32)} == {(len(one), len(other)) for one, other in compared}


def test_an_unknown_method_stays_unknown() -> None:
    """What no service has is not refused but left to gRPC, which says that it is unimplemented."""
    authenticator = Authenticator(Callers("a"), "b")

    assert authenticator.intercept_service(lambda _details: None, None) is None
