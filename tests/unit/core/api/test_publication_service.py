"""PublicationService: which publications are asked for, and how one is shown."""

import uuid
from datetime import UTC, datetime

import pytest

from entrepot.core.v1 import publication_service_pb2, publication_service_pb2_grpc
from entrepot_core.api.named_resource import next_token
from entrepot_core.api.publication_service import PublicationService, publication_message
from entrepot_core.store.publications import PublicationRow
from unconnected_core import Servicing, fields, no_database, refusal

ID = "0199f0c2-7a51-7c3e-9d2b-5f0a4b6c7d8e"
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def servicing() -> Servicing:
    """The servicer."""
    return Servicing(
        publication_service_pb2.DESCRIPTOR.services_by_name["PublicationService"],
        publication_service_pb2_grpc.add_PublicationServiceServicer_to_server,
        PublicationService(no_database()),
    )


@pytest.mark.parametrize(
    ("given", "reason", "field"),
    [
        ({"page_size": -1}, "FIELD_INVALID", ["page_size"]),
        ({"parent": "repositories/file"}, "FIELD_INVALID", ["parent"]),
        ({"parent": f"publications/file/{ID}"}, "FIELD_INVALID", ["parent"]),
        ({"page_token": next_token(("no id",))}, "QUERY_INVALID", ["page_token"]),
        ({"page_token": next_token((f"urn:uuid:{ID}",))}, "QUERY_INVALID", ["page_token"]),
        ({"page_token": next_token((uuid.UUID(ID).hex,))}, "QUERY_INVALID", ["page_token"]),
        ({"page_token": next_token((ID, ID))}, "QUERY_INVALID", ["page_token"]),
        ({"page_token": next_token((ID,))}, "DATABASE_UNAVAILABLE", []),
    ],
)
def test_a_page_is_asked_for_rightly(
    servicing: Servicing, given: dict[str, object], reason: str, field: list[str]
) -> None:
    """Only a token as a page gave it gets as far as the database: an id, spelled as ids are."""
    request = publication_service_pb2.ListPublicationsRequest(**given)  # type: ignore[arg-type]

    error = refusal(lambda: servicing.call("ListPublications", request))

    assert (reason, field) == (error.reason, fields(error))


@pytest.mark.parametrize(("task_id", "task"), [("", ""), ("t", "tasks/t")])
def test_a_row_is_shown_whole(task_id: str, task: str) -> None:
    """Every column is in the message; the task may be gone."""
    version = "repositories/file/foo/versions/2"
    row = PublicationRow(ID, "file", 7, version, 3, True, task_id, MOMENT)

    message = publication_message(row)

    expected = publication_service_pb2.Publication(
        name=f"publications/file/{ID}",
        plugin="file",
        version=version,
        file_count=3,
        pass_through=True,
        task=task,
    )
    expected.create_time.FromDatetime(MOMENT)
    assert expected == message
