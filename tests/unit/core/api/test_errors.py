"""Errors of core, as the client of a servicer sees them."""

from typing import Any

import grpc
import pytest

from entrepot.core.v1 import error_reason_pb2, status_service_pb2, status_service_pb2_grpc
from entrepot_core.domain import errors
from entrepot_rpc.errors import CORE_DOMAIN, Code, Precondition, ServiceError, Violation
from unconnected_core import Servicing, refusal

ERRORS = [
    found
    for name in errors.__all__
    if isinstance(found := getattr(errors, name), type)
    and issubclass(found, ServiceError)
    and found is not ServiceError
]


class Failing(status_service_pb2_grpc.StatusServiceServicer):
    """Raises what the test wants."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def GetStatus(
        self, request: status_service_pb2.GetStatusRequest, context: grpc.ServicerContext
    ) -> Any:  # noqa: ANN401  it has no answer
        """Fails."""
        raise self._error


def seen(error: Exception) -> ServiceError:
    """What a client sees of an error."""
    servicing = Servicing(
        status_service_pb2.DESCRIPTOR.services_by_name["StatusService"],
        status_service_pb2_grpc.add_StatusServiceServicer_to_server,
        Failing(error),
    )
    return refusal(lambda: servicing.call("GetStatus", status_service_pb2.GetStatusRequest()))


@pytest.mark.parametrize("error_class", ERRORS)
def test_every_error_arrives_as_it_was_raised(error_class: type[ServiceError]) -> None:
    """Code, reason, metadata and details of each class reach the client, under core's domain."""
    error = error_class(
        "No: é.",
        metadata={"resource": "repositories/file/foo"},
        violations=(Violation("name", "is wrong."),),
        preconditions=(Precondition("TASK", "tasks/1", "holds it"),),
        retry_after_seconds=1.5,
    )

    found = seen(error)

    assert (error.code, error.reason, CORE_DOMAIN) == (found.code, found.reason, found.domain)
    assert (error.message, error.metadata) == (found.message, found.metadata)
    assert (error.violations, error.preconditions, 1.5) == (
        found.violations,
        found.preconditions,
        found.retry_after_seconds,
    )


@pytest.mark.parametrize("error_class", ERRORS)
def test_every_reason_is_in_the_contract(error_class: type[ServiceError]) -> None:
    """A client in any language finds the reason in the enum of reasons."""
    assert (
        f"ERROR_REASON_{error_class.reason}"
        in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name
    )


def test_what_was_not_foreseen_says_nothing() -> None:
    """The text of any other exception stays in the log, where its request id leads."""
    found = seen(RuntimeError("password=secret"))

    assert (Code.INTERNAL, "INTERNAL") == (found.code, found.reason)
    assert "secret" not in f"{found.message} {found.metadata}"
    assert len(found.metadata["request_id"]) == 32
