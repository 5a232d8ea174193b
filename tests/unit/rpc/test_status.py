"""Errors become statuses and come back whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from entrepot.core.v1 import (
    blob_service_pb2,
    blob_service_pb2_grpc,
    task_service_pb2,
    task_service_pb2_grpc,
)
from entrepot_rpc.channel import connect
from entrepot_rpc.errors import Code, Precondition, ServiceError, Violation
from entrepot_rpc.server import Server
from entrepot_rpc.status import from_rpc_error, from_status, to_status


def an_error() -> ServiceError:
    """An error with every part it can have."""
    return ServiceError.of(
        Code.FAILED_PRECONDITION,
        "RESOURCE_IN_USE",
        "The repository is served.",
        metadata={"resource": "repositories/file/foo"},
        violations=(Violation("name", "is served", "RESOURCE_IN_USE"),),
        preconditions=(Precondition("DISTRIBUTION", "distributions/file/dev", "serves it"),),
        retry_after_seconds=1.5,
    )


def parts(error: ServiceError) -> tuple[object, ...]:
    """Everything of an error that a client can see."""
    return (
        error.code,
        error.reason,
        error.domain,
        error.message,
        error.metadata,
        error.violations,
        error.preconditions,
        error.retry_after_seconds,
    )


def test_a_status_carries_every_part_of_an_error() -> None:
    """An error packed into a status and unpacked is the same error."""
    assert parts(an_error()) == parts(from_status(to_status(an_error())))


class Failing(task_service_pb2_grpc.TaskServiceServicer):
    """Raises what the test wants."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def GetTask(
        self, request: task_service_pb2.GetTaskRequest, context: grpc.ServicerContext
    ) -> task_service_pb2.GetTaskResponse:
        """Fails."""
        raise self.error

    def WatchTask(
        self, request: task_service_pb2.WatchTaskRequest, context: grpc.ServicerContext
    ) -> Iterator[task_service_pb2.WatchTaskResponse]:
        """Answers once, then fails."""
        yield task_service_pb2.WatchTaskResponse(sequence=1)
        raise self.error


def watch(stub: task_service_pb2_grpc.TaskServiceStub) -> list[object]:
    """Everything the stream gives."""
    return list(stub.WatchTask(task_service_pb2.WatchTaskRequest(), timeout=10))


@contextmanager
def running(servicer: blob_service_pb2_grpc.BlobServiceServicer) -> Iterator[grpc.Channel]:
    """A channel to a server with this servicer and one thread."""
    server = Server("127.0.0.1:0", threads=1)
    server.add(
        "entrepot.core.v1.BlobService",
        lambda s: blob_service_pb2_grpc.add_BlobServiceServicer_to_server(servicer, s),
    )
    try:
        with connect(server.start()) as channel:
            yield channel
    finally:
        server.stop(0)


def call(error: Exception, *, stream: bool) -> ServiceError:
    """What a client sees when a servicer raises this error."""
    server = Server("127.0.0.1:0")
    servicer = Failing(error)  # type: ignore[abstract]
    server.add(
        "entrepot.core.v1.TaskService",
        lambda s: task_service_pb2_grpc.add_TaskServiceServicer_to_server(servicer, s),
    )
    address = server.start()
    try:
        with connect(address) as channel:
            stub = task_service_pb2_grpc.TaskServiceStub(channel)
            with pytest.raises(grpc.RpcError) as raised:
                watch(stub) if stream else stub.GetTask(task_service_pb2.GetTaskRequest())
        return from_rpc_error(raised.value)
    finally:
        server.stop(0)


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_a_servicer_raises_reaches_the_client_whole(stream: bool) -> None:
    """What a servicer raises is what its client reads, in unary calls and in streams."""
    assert parts(an_error()) == parts(call(an_error(), stream=stream))


@pytest.mark.parametrize("text", ["x" * 5_000, "🙂" * 20_000, "\\n" * 3_000])
def test_an_error_with_long_texts_arrives_shortened(text: str) -> None:
    """What is too long for trailing metadata is cut in the middle; code and reason stay."""
    error = ServiceError.of(
        Code.NOT_FOUND,
        "RESOURCE_NOT_FOUND",
        f"There is no {text}.",
        metadata={"resource": text},
        violations=tuple(Violation(f"names[{i}]", f"{text} is none.") for i in range(100)),
        preconditions=tuple(Precondition("REPOSITORY", text, text) for _ in range(100)),
    )

    seen = call(error, stream=False)

    assert (error.code, error.reason) == (seen.code, seen.reason)
    assert seen.message.startswith("There is no ")
    assert " … " in seen.message
    assert seen.metadata["resource"][:30] == text[:30]
    assert seen.violations[0].field == "names[0]"
    assert seen.preconditions[0].type == "REPOSITORY"


class Refused(grpc.RpcError):
    """A failed call with this in its trailing metadata."""

    def __init__(self, details: bytes) -> None:
        self._details = details

    def code(self) -> grpc.StatusCode:
        """The code of the call."""
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        """The message of the call."""
        return "not now"

    def trailing_metadata(self) -> tuple[Any, ...]:
        """What came after the answer."""
        return (("grpc-status-details-bin", self._details),)


@pytest.mark.parametrize("details", [b"\xff\xff", to_status(an_error()).SerializeToString()])
def test_details_that_contradict_the_code_are_ignored(details: bytes) -> None:
    """Of a peer that sends nonsense beside its code, the code and the message are believed."""
    error = from_rpc_error(Refused(details))

    assert (Code.UNAVAILABLE, "UNAVAILABLE", "not now") == (
        error.code,
        error.reason,
        error.message,
    )


class Receiving(blob_service_pb2_grpc.BlobServiceServicer):
    """Reads all that is sent."""

    def __init__(self) -> None:
        self.has_begun = Event()

    def WriteBlob(
        self, request_iterator: Iterator[blob_service_pb2.WriteBlobRequest], context: object
    ) -> blob_service_pb2.WriteBlobResponse:
        """Says when it begins to read."""
        for _ in request_iterator:
            self.has_begun.set()
        return blob_service_pb2.WriteBlobResponse()


def test_a_client_that_goes_away_is_no_fault() -> None:
    """A stream of requests that its client breaks off ends without an error in the log."""
    servicer = Receiving()  # type: ignore[abstract]
    goes_on = Event()

    def requests() -> Iterator[blob_service_pb2.WriteBlobRequest]:
        yield blob_service_pb2.WriteBlobRequest(chunk=b"x")
        goes_on.wait(10)

    with capture_logs() as said, running(servicer) as channel:
        stub = blob_service_pb2_grpc.BlobServiceStub(channel)
        sent = stub.WriteBlob.future(requests())
        assert servicer.has_begun.wait(10)
        sent.cancel()
        goes_on.set()
        # There is one thread: when this is answered, the other call has ended.
        stub.WriteBlob(iter(()), timeout=10)

    assert said == []


@pytest.mark.parametrize("stream", [False, True])
def test_an_unforeseen_error_says_nothing_but_a_request_id(stream: bool) -> None:
    """An exception that nobody foresaw is INTERNAL, without its text and with a request id."""
    error = call(ValueError("the password is hunter2"), stream=stream)

    assert (Code.INTERNAL, "INTERNAL") == (error.code, error.reason)
    assert "hunter2" not in error.message
    assert error.metadata["request_id"]


def test_a_server_that_is_not_there_is_unavailable() -> None:
    """A call to an address where nobody listens is UNAVAILABLE, in code and reason."""
    with connect("127.0.0.1:1") as channel:
        stub = task_service_pb2_grpc.TaskServiceStub(channel)
        with pytest.raises(grpc.RpcError) as raised:
            stub.GetTask(task_service_pb2.GetTaskRequest(), timeout=10)

    assert (Code.UNAVAILABLE, "UNAVAILABLE") == (
        from_rpc_error(raised.value).code,
        from_rpc_error(raised.value).reason,
    )


def test_a_taken_port_is_an_error_that_names_the_address() -> None:
    """A server cannot start where another one listens, and says where."""
    first = Server("127.0.0.1:0")
    address = first.start()
    try:
        with pytest.raises(OSError, match=address):
            Server(address).start()
    finally:
        first.stop(0)
