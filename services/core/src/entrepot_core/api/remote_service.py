"""RemoteService: where content comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from entrepot.core.v1 import remote_service_pb2 as pb
from entrepot.core.v1 import remote_service_pb2_grpc
from entrepot.plugin.v1 import describe_pb2
from entrepot_core.api import remote_access
from entrepot_core.api.named_resource import NamedResource, check_text, next_token, timestamp
from entrepot_core.domain.errors import FieldInvalidError
from entrepot_core.domain.urls import check_remote_url
from entrepot_core.store import remote_secrets, remotes

if TYPE_CHECKING:
    import grpc
    from google.protobuf import any_pb2

    from entrepot_core.api.creation_requests import CreationRequests
    from entrepot_core.plugins.registry import Registry
    from entrepot_core.store.database import Database
    from entrepot_core.store.remotes import RemoteRow
    from entrepot_core.store.secret_key import SecretKey

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
    *remote_access.FIELDS,
)


class RemoteService(remote_service_pb2_grpc.RemoteServiceServicer):
    """See remote_service.proto."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        secret_key: SecretKey,
        requests: CreationRequests,
    ) -> None:
        self._database = database
        self._requests = requests
        self._secret_key = secret_key
        self._resource = NamedResource(
            registry, describe_pb2.RESOURCE_KIND_REMOTE, "remotes", "remote", _FIELDS
        )

    def CreateRemote(
        self, request: pb.CreateRemoteRequest, context: grpc.ServicerContext
    ) -> pb.CreateRemoteResponse:
        values = self._resource.new_name(request.parent, request.remote.name)
        values |= _checked(request.remote, set(_FIELDS))
        values["spec"] = self._resource.new_spec(values["plugin"], request.remote.spec)
        changes = remote_access.secret_changes(request.remote, set(_FIELDS))
        secrets = {name: value for name, value in changes.items() if value}
        remote_access.check_whole(values, secrets, None)
        full_name = f"remotes/{values['plugin']}/{values['name']}"
        with self._database.transaction() as cursor:
            if self._requests.earlier(cursor, context, request, full_name):
                row = remotes.get(cursor, full_name)
            else:
                row = remotes.create(cursor, values)
                if secrets:
                    # Encrypted for its number, which it has only now.
                    sealed = remote_secrets.seal(self._secret_key, row, secrets)
                    row = remotes.keep_secrets(cursor, row, sealed)
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
            row = remotes.get(cursor, given.name, lock=True)
            if spec:
                values["spec"] = self._resource.changed_spec(row, given.spec, spec)
            if own & {"url", *remote_access.FIELDS}:
                values |= self._changed_access(row, given, own, values)
            row = remotes.update(cursor, given.name, values, given.etag)
        return pb.UpdateRemoteResponse(remote=self._encode(row))

    def DeleteRemote(
        self, request: pb.DeleteRemoteRequest, context: grpc.ServicerContext
    ) -> pb.DeleteRemoteResponse:
        with self._database.transaction() as cursor:
            remotes.delete(cursor, request.name, request.etag)
        return pb.DeleteRemoteResponse()

    def _changed_access(
        self, row: RemoteRow, given: pb.Remote, own: set[str], values: dict[str, Any]
    ) -> dict[str, Any]:
        """The column of the secrets, if any of them changes; checks that all goes together."""
        changes = remote_access.secret_changes(given, own, row.secrets)
        # None: stays as it is.
        secrets: dict[str, str | None] = {**dict.fromkeys(row.secrets), **changes}
        secrets = {name: value for name, value in secrets.items() if value != ""}
        after = {name: values.get(name, getattr(row, name)) for name in remote_access.COLUMNS}
        remote_access.check_whole(after, secrets, row)
        if not changes:
            return {}
        new = {name: value for name, value in secrets.items() if value is not None}
        sealed = {**row.secrets, **remote_secrets.seal(self._secret_key, row, new)}
        return {"secrets": {name: sealed[name] for name in secrets}}

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
        username=row.username,
        proxy_url=row.proxy_url,
        proxy_username=row.proxy_username,
        ca_certificates=row.ca_certificates,
        client_certificate=row.client_certificate,
        verify_tls=row.verify_tls,
        secrets_set=sorted(row.secrets),
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
    values |= remote_access.values(remote, wanted)
    return {name: value for name, value in values.items() if name in wanted}
