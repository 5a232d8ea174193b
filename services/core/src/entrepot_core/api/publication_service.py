"""PublicationService: the generated files of versions, as tasks made them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.core.v1 import publication_service_pb2 as pb
from entrepot.core.v1 import publication_service_pb2_grpc
from entrepot_core.api.named_resource import next_token, read_position, timestamp
from entrepot_core.api.paging import check_id, page_size
from entrepot_core.domain.errors import FieldInvalidError
from entrepot_core.domain.names import full_name
from entrepot_core.store import publications, repositories

if TYPE_CHECKING:
    import grpc

    from entrepot_core.store.database import Database
    from entrepot_core.store.publications import PublicationRow

__all__ = ["PublicationService", "publication_message"]


class PublicationService(publication_service_pb2_grpc.PublicationServiceServicer):
    """See publication_service.proto."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def GetPublication(
        self, request: pb.GetPublicationRequest, context: grpc.ServicerContext
    ) -> pb.GetPublicationResponse:
        with self._database.transaction() as cursor:
            row = publications.get(cursor, request.name)
        return pb.GetPublicationResponse(publication=publication_message(row))

    def ListPublications(
        self, request: pb.ListPublicationsRequest, context: grpc.ServicerContext
    ) -> pb.ListPublicationsResponse:
        size = page_size(request.page_size)
        collection, _, plugin = request.parent.strip("/").partition("/")
        if request.parent and (collection != "publications" or "/" in plugin):
            raise FieldInvalidError.at("parent", 'must be "publications/<plugin>".')
        (before,) = read_position(request.page_token, (str,)) or ("",)
        if before:
            check_id(before)
        with self._database.transaction() as cursor:
            repository_id = None
            if request.repository:
                name = full_name(request.repository, "repositories", plugin, field="repository")
                repository_id = repositories.get(cursor, name).repository_id
            rows = publications.page(
                cursor, "" if plugin == "-" else plugin, repository_id, before, size + 1
            )
        shown = rows[:size]
        return pb.ListPublicationsResponse(
            publications=[publication_message(row) for row in shown],
            next_page_token=next_token((shown[-1].publication_id,)) if len(rows) > size else "",
        )

    def DeletePublication(
        self, request: pb.DeletePublicationRequest, context: grpc.ServicerContext
    ) -> pb.DeletePublicationResponse:
        with self._database.transaction() as cursor:
            publications.delete(cursor, request.name)
        return pb.DeletePublicationResponse()


def publication_message(row: PublicationRow) -> pb.Publication:
    """The message of a publication."""
    return pb.Publication(
        name=row.full_name,
        plugin=row.plugin,
        version=row.version,
        file_count=row.file_count,
        pass_through=row.pass_through,
        task=f"tasks/{row.task_id}" if row.task_id else "",
        create_time=timestamp(row.created_at),
    )
