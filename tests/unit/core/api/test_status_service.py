"""StatusService: who may ask for the status."""

from pathlib import Path

import pytest

from entrepot.core.v1 import status_service_pb2, status_service_pb2_grpc
from entrepot_core.api.status_service import StatusService
from entrepot_core.blobs.probe import StoreProbe
from entrepot_core.store.secret_key import SecretKey
from unconnected_core import API, CONTENT, DeclaredPlugins, Servicing, no_database, refusal


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [(None, "UNAUTHENTICATED"), (CONTENT, "PERMISSION_DENIED"), (API, "DATABASE_UNAVAILABLE")],
)
def test_the_status_is_for_users(authorization: str | None, reason: str) -> None:
    """Who may ask hears that the database is gone, and others hear nothing."""
    servicing = Servicing(
        status_service_pb2.DESCRIPTOR.services_by_name["StatusService"],
        status_service_pb2_grpc.add_StatusServiceServicer_to_server,
        StatusService(
            no_database(),
            DeclaredPlugins(),
            lambda: 0,
            StoreProbe(lambda: None),
            SecretKey(Path("no key")),
            "",
        ),
    )
    request = status_service_pb2.GetStatusRequest()

    error = refusal(lambda: servicing.call("GetStatus", request, authorization))

    assert reason == error.reason
