"""LimitService: how many tasks of one kind run at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from entrepot.core.v1 import limit_service_pb2 as pb
from entrepot.core.v1 import limit_service_pb2_grpc
from entrepot_core.api.named_resource import check_text, next_token, read_position, timestamp
from entrepot_core.api.paging import page_size
from entrepot_core.domain.errors import FieldInvalidError
from entrepot_core.domain.label import parse_label
from entrepot_core.domain.names import user_segment
from entrepot_core.store import limits

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from entrepot_core.api.creation_requests import CreationRequests
    from entrepot_core.plugins.registry import Registry
    from entrepot_core.store.database import Database
    from entrepot_core.store.limits import LimitRow

__all__ = ["LimitService"]

_MOST_RUNNING = 1_000_000
# What an update may name, and what else it may have been given back with.
_FIELDS = {"task_type", "repository_label", "max_running", "description"}
_IGNORED = {"name", "etag"}


class LimitService(limit_service_pb2_grpc.LimitServiceServicer):
    """See limit_service.proto."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        wake: Callable[[], None],
        requests: CreationRequests,
    ) -> None:
        self._database = database
        self._requests = requests
        self._registry = registry
        self._wake = wake

    def CreateLimit(
        self, request: pb.CreateLimitRequest, context: grpc.ServicerContext
    ) -> pb.CreateLimitResponse:
        name = user_segment(request.limit.name, "limits", "", field="limit.name")
        values = self._values(request.limit, _FIELDS)
        _check_purpose(values["task_type"], values["label_key"])
        with self._database.transaction() as cursor:
            if self._requests.earlier(cursor, context, request, f"limits/{name}"):
                row = limits.get(cursor, f"limits/{name}")
            else:
                row = limits.create(cursor, {"name": name, **values})
        self._sort()
        return pb.CreateLimitResponse(limit=_message(row))

    def GetLimit(
        self, request: pb.GetLimitRequest, context: grpc.ServicerContext
    ) -> pb.GetLimitResponse:
        with self._database.transaction() as cursor:
            row = limits.get(cursor, request.name)
        return pb.GetLimitResponse(limit=_message(row))

    def ListLimits(
        self, request: pb.ListLimitsRequest, context: grpc.ServicerContext
    ) -> pb.ListLimitsResponse:
        size = page_size(request.page_size)
        (after,) = read_position(request.page_token, (str,)) or ("",)
        with self._database.transaction() as cursor:
            rows = limits.page(cursor, size + 1, after)
        return pb.ListLimitsResponse(
            limits=map(_message, rows[:size]),
            next_page_token=next_token((rows[size - 1].name,)) if len(rows) > size else "",
        )

    def UpdateLimit(
        self, request: pb.UpdateLimitRequest, context: grpc.ServicerContext
    ) -> pb.UpdateLimitResponse:
        given = request.limit
        values = self._values(given, _changed(given, request.update_mask.paths))
        with self._database.transaction() as cursor:
            row = limits.get(cursor, given.name, lock=True)
            _check_purpose(
                values.get("task_type", row.task_type), values.get("label_key", row.label_key)
            )
            row = limits.update(cursor, row, values, given.etag)
        self._sort()
        return pb.UpdateLimitResponse(limit=_message(row))

    def DeleteLimit(
        self, request: pb.DeleteLimitRequest, context: grpc.ServicerContext
    ) -> pb.DeleteLimitResponse:
        with self._database.transaction() as cursor:
            limits.delete(cursor, limits.get(cursor, request.name, lock=True), request.etag)
        self._sort()
        return pb.DeleteLimitResponse()

    def _sort(self) -> None:
        """What waits already comes into the right queues, batch by batch."""
        after: str | None = None
        while True:
            with self._database.transaction() as cursor:
                after = limits.sort_waiting(cursor, after)
            self._wake()
            if after is None:
                return

    def _values(self, limit: pb.Limit, wanted: set[str]) -> dict[str, Any]:
        """The columns of these fields, checked."""
        check_text("limit", limit.description, {})
        values: dict[str, Any] = {}
        if "description" in wanted:
            values["description"] = limit.description
        if "max_running" in wanted:
            if not 1 <= limit.max_running <= _MOST_RUNNING:
                raise FieldInvalidError.at(
                    "limit.max_running",
                    f"must be from 1 to {_MOST_RUNNING:,}: a limit does not pause tasks. "
                    "To do that, stop their plugin: those that wait run when it is back.",
                )
            values["max_running"] = limit.max_running
        if "task_type" in wanted:
            values["task_type"] = self._task_type(limit.task_type)
        if "repository_label" in wanted:
            label = parse_label(limit.repository_label, "limit.repository_label")
            values["label_key"], values["label_value"] = label
        return values

    def _task_type(self, name: str) -> str:
        """A task type or a plugin that there is, or nothing."""
        if not name:
            return ""
        catalog = self._registry.refresh()
        known = {view.name for one in catalog.declarations.values() for view in one.task_types}
        if name not in known | set(catalog.declarations):
            raise FieldInvalidError.at(
                "limit.task_type",
                f'"{name}" is neither a task type nor a plugin; there are '
                f"{', '.join(sorted(known))}.",
            )
        return name


def _changed(limit: pb.Limit, mask: Any) -> set[str]:  # noqa: ANN401  repeated strings
    """The fields to change; an empty mask means those that are set."""
    for path in mask:
        if path not in _FIELDS | _IGNORED:
            raise FieldInvalidError.at(f"limit.{path}", "cannot be changed.")
    return (set(mask) or {field.name for field, _ in limit.ListFields()}) & _FIELDS


def _check_purpose(task_type: str, label_key: str) -> None:
    if not task_type and not label_key:
        raise FieldInvalidError.at(
            "limit",
            "must say what it counts: task_type, such as file/syncs, or repository_label, such as "
            "team=web, or both.",
        )


def _message(row: LimitRow) -> pb.Limit:
    label = row.label_key if row.label_value is None else f"{row.label_key}={row.label_value}"
    return pb.Limit(
        name=row.full_name,
        task_type=row.task_type,
        repository_label=label if row.label_key else "",
        max_running=row.max_running,
        description=row.description,
        running_tasks=row.running,
        etag=row.etag,
        create_time=timestamp(row.created_at),
        update_time=timestamp(row.updated_at),
    )
