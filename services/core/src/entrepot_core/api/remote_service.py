"""RemoteService: where content comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from entrepot.core.v1 import remote_service_pb2 as pb
from entrepot.core.v1 import remote_service_pb2_grpc
from entrepot.plugin.v1 import describe_pb2
from entrepot_core.api.named_resource import NamedResource, check_text, next_token, timestamp
from entrepot_core.domain.errors import FieldInvalidError
from entrepot_core.domain.urls import check_remote_url
from entrepot_core.store import remotes

if TYPE_CHECKING:
    import grpc
    from google.protobuf import any_pb2

    from entrepot_core.plugins.registry import Registry
    from entrepot_core.store.database import Database
    from entrepot_core.store.remotes import RemoteRow

__all__ = ["RemoteService", "remote_message"]

_POLICIES = {
    pb.Remote.POLICY_UNSPECIFIED: "immediate",
    pb.Remote.POLICY_IMMEDIATE: "immediate",
    pb.Remote.POLICY_ON_DEMAND: "on_demand",
    pb.Remote.POLICY_STREAMED: "streamed",
}
_POLICY_NUMBERS = {name: number for number, name in _POLICIES.items()}
_DEFAULT_CONCURRENCY = 10
_DEFAULT_RETRIES = 3
_DEFAULT_STALL_SECONDS = 60
_LEAST_RATE, _MOST_RATE = 0.001, 10_000
_FIELDS = (
    "url",
    "policy",
    "max_concurrency",
    "max_retries",
    "stall_timeout_seconds",
    "rate_limit",
    "total_timeout_seconds",
    "description",
    "labels",
)


class RemoteService(remote_service_pb2_grpc.RemoteServiceServicer):
    """See remote_service.proto."""

    def __init__(self, database: Database, registry: Registry) -> None:
        self._database = database
        self._resource = NamedResource(
            registry, describe_pb2.RESOURCE_KIND_REMOTE, "remotes", "remote", _FIELDS
        )

    def CreateRemote(
        self, request: pb.CreateRemoteRequest, context: grpc.ServicerContext
    ) -> pb.CreateRemoteResponse:
        values = self._resource.new_name(request.parent, request.remote.name)
        values |= _checked(request.remote, set(_FIELDS))
        values["spec"] = self._resource.new_spec(values["plugin"], request.remote.spec)
        with self._database.transaction() as cursor:
            row = remotes.create(cursor, values)
        return pb.CreateRemoteResponse(remote=self._encode(row))

    def GetRemote(
        self, request: pb.GetRemoteRequest, context: grpc.ServicerContext
    ) -> pb.GetRemoteResponse:
        with self._database.transaction() as cursor:
            row = remotes.get(cursor, request.name)
        return pb.GetRemoteResponse(remote=self._encode(row))

    def ListRemotes(
        self, request: pb.ListRemotesRequest, context: grpc.ServicerContext
    ) -> pb.ListRemotesResponse:
        wanted = self._resource.page(
            request.parent, request.page_size, request.page_token, request.label
        )
        with self._database.transaction() as cursor:
            rows = remotes.page(cursor, wanted)
        shown = rows[: wanted.size - 1]
        more = len(rows) > len(shown)
        return pb.ListRemotesResponse(
            remotes=[self._encode(row) for row in shown],
            next_page_token=next_token((shown[-1].plugin, shown[-1].name)) if more else "",
        )

    def UpdateRemote(
        self, request: pb.UpdateRemoteRequest, context: grpc.ServicerContext
    ) -> pb.UpdateRemoteResponse:
        given = request.remote
        own, spec = self._resource.changes(given, request.update_mask.paths)
        values = _checked(given, own)
        with self._database.transaction() as cursor:
            if spec:
                row = remotes.get(cursor, given.name)
                values["spec"] = self._resource.changed_spec(row, given.spec, spec)
            row = remotes.update(cursor, given.name, values, given.etag)
        return pb.UpdateRemoteResponse(remote=self._encode(row))

    def DeleteRemote(
        self, request: pb.DeleteRemoteRequest, context: grpc.ServicerContext
    ) -> pb.DeleteRemoteResponse:
        with self._database.transaction() as cursor:
            remotes.delete(cursor, request.name, request.etag)
        return pb.DeleteRemoteResponse()

    def _encode(self, row: RemoteRow) -> pb.Remote:
        return remote_message(row, self._resource.spec(row))


def remote_message(row: RemoteRow, spec: any_pb2.Any | None) -> pb.Remote:
    """The message of a remote, with the fields of its plugin."""
    return pb.Remote(
        name=row.full_name,
        plugin=row.plugin,
        url=row.url,
        policy=_POLICY_NUMBERS[row.policy],
        max_concurrency=row.max_concurrency,
        max_retries=row.max_retries,
        stall_timeout_seconds=row.stall_timeout_seconds,
        rate_limit=row.rate_limit,
        total_timeout_seconds=row.total_timeout_seconds,
        verify_tls=row.verify_tls,
        description=row.description,
        labels=row.labels,
        spec=spec,
        etag=row.etag,
        create_time=timestamp(row.created_at),
        update_time=timestamp(row.updated_at),
    )


def _checked(remote: pb.Remote, wanted: set[str]) -> dict[str, Any]:
    """The columns of these fields, in range; zero and unset mean their defaults."""
    check_text("remote", remote.description, remote.labels)
    policy = _POLICIES.get(remote.policy)
    if policy is None:
        raise FieldInvalidError.at("remote.policy", f"{remote.policy} is not a policy.")
    values: dict[str, Any] = {
        "policy": policy,
        "max_concurrency": remote.max_concurrency or _DEFAULT_CONCURRENCY,
        "max_retries": remote.max_retries if remote.HasField("max_retries") else _DEFAULT_RETRIES,
        "stall_timeout_seconds": remote.stall_timeout_seconds or _DEFAULT_STALL_SECONDS,
        "rate_limit": remote.rate_limit,
        "total_timeout_seconds": remote.total_timeout_seconds,
        "description": remote.description,
        "labels": dict(remote.labels),
    }
    for name, least, most in (
        ("max_concurrency", 1, 100),
        ("max_retries", 0, 20),
        ("stall_timeout_seconds", 1, 3600),
        ("total_timeout_seconds", 0, 604_800),
    ):
        if not least <= values[name] <= most:
            raise FieldInvalidError.at(f"remote.{name}", f"must be from {least} to {most:,}.")
    if remote.rate_limit and not _LEAST_RATE <= remote.rate_limit <= _MOST_RATE:
        raise FieldInvalidError.at(
            "remote.rate_limit", f"must be zero, or from {_LEAST_RATE} to {_MOST_RATE:,}."
        )
    if "url" in wanted:
        values["url"] = check_remote_url(remote.url, "remote.url")
    return {name: value for name, value in values.items() if name in wanted}
