"""ContentService: units of all repositories, or of one version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.core.v1 import content_service_pb2 as pb
from entrepot.core.v1 import content_service_pb2_grpc
from entrepot_core.api.content_message import encode_content
from entrepot_core.api.named_resource import next_token, read_position
from entrepot_core.api.paging import page_size, token_error
from entrepot_core.domain.errors import (
    FieldInvalidError,
    QueryInvalidError,
    ResourceNotFoundError,
)
from entrepot_core.plugins.filtering import condition_of, conditions_of
from entrepot_core.plugins.units import parse_unit_name
from entrepot_core.store import content, content_types, versions
from entrepot_core.store.content import Condition, VersionRange

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import grpc

    from entrepot_core.plugins.registry import Registry
    from entrepot_core.store.content import ContentRow
    from entrepot_core.store.database import Cursor, Database

__all__ = ["ContentService", "either", "read_version_position"]

_COLLECTION_SEGMENTS = 3
# A position in a version: which of three orders, and what of it.
_POSITIONS: tuple[tuple[type, ...], ...] = ((int, str), (int, int, str), (int, int))


class ContentService(content_service_pb2_grpc.ContentServiceServicer):
    """See content_service.proto."""

    def __init__(self, database: Database, registry: Registry) -> None:
        self._database = database
        self._registry = registry

    def GetContent(
        self, request: pb.GetContentRequest, context: grpc.ServicerContext
    ) -> pb.GetContentResponse:
        catalog = self._registry.catalog()
        key = parse_unit_name(catalog, request.name, "name")
        with self._database.transaction() as cursor:
            content_type = content_types.by_name(cursor, [key.content_type]).get(key.content_type)
            row = content_type and content.find(cursor, content_type, key.digest)
        if not row:
            raise ResourceNotFoundError(
                f"There is no {request.name}.", metadata={"resource": request.name}
            )
        return pb.GetContentResponse(content=encode_content(catalog, row))

    def ListContent(
        self, request: pb.ListContentRequest, context: grpc.ServicerContext
    ) -> pb.ListContentResponse:
        size = page_size(request.page_size)
        with self._database.transaction() as cursor:
            if request.parent.startswith("repositories/"):
                rows = self._of_version(cursor, request, size + 1)
            else:
                rows = self._of_type(cursor, request, size + 1)
        catalog = self._registry.catalog()
        return pb.ListContentResponse(
            content=[encode_content(catalog, row) for row in rows[:size]],
            next_page_token=next_token(rows[size - 1].position) if len(rows) > size else "",
        )

    def _of_type(
        self, cursor: Cursor, request: pb.ListContentRequest, size: int
    ) -> Sequence[ContentRow]:
        segments = request.parent.strip("/").split("/")
        view = (
            self._registry.catalog().content_type_of_collection(segments[1], segments[2])
            if len(segments) == _COLLECTION_SEGMENTS and segments[0] == "content"
            else None
        )
        if view is None:
            raise ResourceNotFoundError(
                f"There is no collection {request.parent}.",
                metadata={"resource": request.parent},
            )
        if request.content_type and request.content_type != view.name:
            raise FieldInvalidError.at(
                "content_type", f"units of {request.parent} are {view.name}."
            )
        (after,) = read_position(request.page_token, (int,)) or (0,)
        content_type = content_types.number(cursor, [(view.plugin, view.name, view.collection)])[
            view.name
        ]
        condition = condition_of(self._registry.catalog(), view, content_type, request.filter)
        rows = content.page_of_type(cursor, condition, after, size)
        return content.with_details(cursor, rows)

    def _of_version(
        self, cursor: Cursor, request: pb.ListContentRequest, size: int
    ) -> Sequence[ContentRow]:
        repository, version = versions.get(cursor, request.parent)
        catalog = self._registry.catalog()
        declaration = catalog.any_plugin(repository.plugin)
        views = [
            view
            for view in (declaration.content_types if declaration else ())
            if request.content_type in ("", view.name)
        ]
        if request.content_type and not views:
            raise FieldInvalidError.at(
                "content_type",
                f"{request.content_type} is no content type of the plugin {repository.plugin}.",
            )
        condition = Condition()
        if request.filter or request.content_type:
            types = content_types.by_name(cursor, [view.name for view in views])
            condition = either(conditions_of(catalog, views, types, request.filter))
        after = read_version_position(request.page_token)
        where = VersionRange(repository.repository_id, version.number)
        rows = content.page_of_version(cursor, where, condition, after, size)
        return content.with_details(cursor, rows, where)


def either(conditions: Sequence[Condition]) -> Condition:
    """The units of any of the conditions, as one."""
    if len(conditions) == 1:
        return conditions[0]
    parts = []
    parameters: dict[str, Any] = {}
    for index, one in enumerate(conditions):
        sql = one.sql
        for name, value in one.parameters.items():
            renamed = f"c{index}_{name}"
            sql = sql.replace(f"%({name})s", f"%({renamed})s")
            parameters[renamed] = value
        (type_id,) = one.type_ids
        parts.append(f"(c.type_id = {type_id:d} AND {sql})")
    return Condition((), f"({' OR '.join(parts)})" if parts else "false", parameters)


def read_version_position(token: str) -> tuple[Any, ...]:
    """The position in a version, () for the first page. Raises QueryInvalidError."""
    if not token:
        return ()
    for order, types in enumerate(_POSITIONS, start=1):
        try:
            position = read_position(token, types)
        except QueryInvalidError:  # another form may fit
            continue
        if position[0] == order:
            return tuple(position)
    raise token_error()
