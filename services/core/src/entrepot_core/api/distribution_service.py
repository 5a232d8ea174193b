"""DistributionService: what is served where, and how clients use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from entrepot.core.v1 import distribution_service_pb2 as pb
from entrepot.core.v1 import distribution_service_pb2_grpc
from entrepot.plugin.v1 import describe_pb2
from entrepot_core.api.named_resource import (
    NamedResource,
    check_text,
    next_token,
    notify_pointers,
    timestamp,
)
from entrepot_core.domain.errors import FieldInvalidError, ResourceNotFoundError
from entrepot_core.domain.names import full_name
from entrepot_core.domain.paths import check_base_path
from entrepot_core.store import distributions, publications, repositories, versions

if TYPE_CHECKING:
    import grpc
    from google.protobuf import any_pb2

    from entrepot_core.api.creation_requests import CreationRequests
    from entrepot_core.plugins.registry import Registry
    from entrepot_core.store.database import Cursor, Database
    from entrepot_core.store.distributions import DistributionRow

__all__ = ["DistributionService", "distribution_message", "fill", "guide_facts"]

_TARGETS = ("repository", "version", "publication")
_FIELDS = ("base_path", *_TARGETS, "description", "labels", "grace_seconds")
_DEFAULT_GRACE_SECONDS = 600
_MAX_GRACE_SECONDS = 7 * 24 * 3600


class DistributionService(distribution_service_pb2_grpc.DistributionServiceServicer):
    """See distribution_service.proto; `content_url` is the origin that clients see."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        content_url: str,
        requests: CreationRequests,
    ) -> None:
        self._database = database
        self._requests = requests
        self._registry = registry
        self._content_url = content_url.rstrip("/")
        self._resource = NamedResource(
            registry,
            describe_pb2.RESOURCE_KIND_DISTRIBUTION,
            "distributions",
            "distribution",
            _FIELDS,
        )

    def CreateDistribution(
        self, request: pb.CreateDistributionRequest, context: grpc.ServicerContext
    ) -> pb.CreateDistributionResponse:
        given = request.distribution
        values = self._resource.new_name(request.parent, given.name)
        check_text("distribution", given.description, given.labels)
        values |= {
            "base_path": check_base_path(given.base_path, "distribution.base_path"),
            "description": given.description,
            "labels": dict(given.labels),
            "grace_seconds": _grace_seconds(given),
            "spec": self._resource.new_spec(values["plugin"], given.spec),
        }
        # In the request itself: with another spelling it is the same request.
        _spell_out(given, values["plugin"], set(_TARGETS))
        full_name = f"distributions/{values['plugin']}/{values['name']}"
        with self._database.transaction() as cursor:
            if self._requests.earlier(cursor, context, request, full_name):
                row = distributions.get(cursor, full_name)
            else:
                values |= self._target(cursor, values["plugin"], given, set(_TARGETS))
                row = distributions.create(cursor, values)
        notify_pointers(self._database)
        return pb.CreateDistributionResponse(distribution=self._encode(row))

    def GetDistribution(
        self, request: pb.GetDistributionRequest, context: grpc.ServicerContext
    ) -> pb.GetDistributionResponse:
        with self._database.transaction() as cursor:
            row = distributions.get(cursor, request.name)
        return pb.GetDistributionResponse(distribution=self._encode(row))

    def ListDistributions(
        self, request: pb.ListDistributionsRequest, context: grpc.ServicerContext
    ) -> pb.ListDistributionsResponse:
        wanted = self._resource.page(
            request.parent, request.page_size, request.page_token, request.label
        )
        with self._database.transaction() as cursor:
            rows = distributions.page(cursor, wanted)
        shown = rows[: wanted.size - 1]
        more = len(rows) > len(shown)
        return pb.ListDistributionsResponse(
            distributions=[self._encode(row) for row in shown],
            next_page_token=next_token((shown[-1].plugin, shown[-1].name)) if more else "",
        )

    def UpdateDistribution(
        self, request: pb.UpdateDistributionRequest, context: grpc.ServicerContext
    ) -> pb.UpdateDistributionResponse:
        given = request.distribution
        own, spec = self._resource.changes(given, request.update_mask.paths)
        check_text("distribution", given.description, given.labels)
        values: dict[str, Any] = {
            name: value
            for name, value in (
                ("description", given.description),
                ("labels", dict(given.labels)),
            )
            if name in own
        }
        if "grace_seconds" in own:
            values["grace_seconds"] = _grace_seconds(given)
        if "base_path" in own:
            values["base_path"] = check_base_path(given.base_path, "distribution.base_path")
        with self._database.transaction() as cursor:
            row = distributions.get(cursor, given.name)
            if spec:
                values["spec"] = self._resource.changed_spec(row, given.spec, spec)
            if own & set(_TARGETS):
                _spell_out(given, row.plugin, own)
                values |= self._target(cursor, row.plugin, given, own & set(_TARGETS))
            row = distributions.update(cursor, given.name, values, given.etag)
        notify_pointers(self._database)
        return pb.UpdateDistributionResponse(distribution=self._encode(row))

    def DeleteDistribution(
        self, request: pb.DeleteDistributionRequest, context: grpc.ServicerContext
    ) -> pb.DeleteDistributionResponse:
        with self._database.transaction() as cursor:
            distributions.delete(cursor, request.name, request.etag)
        notify_pointers(self._database)
        return pb.DeleteDistributionResponse()

    def ListGuides(
        self, request: pb.ListGuidesRequest, context: grpc.ServicerContext
    ) -> pb.ListGuidesResponse:
        with self._database.transaction() as cursor:
            row = distributions.get(cursor, request.parent)
            path = distributions.example_path(cursor, row)
        declaration = self._registry.catalog().any_plugin(row.plugin)
        guides = [] if declaration is None else list(declaration.response.client_guides)
        facts = guide_facts(self._url(row), row.base_path, path)
        return pb.ListGuidesResponse(
            guides=[
                pb.ListGuidesResponse.Guide(
                    client=guide.client,
                    title=guide.title,
                    text=fill(guide.template, facts),
                    check=fill(guide.check, facts),
                )
                for guide in guides
                if not request.client or guide.client == request.client
            ]
        )

    @staticmethod
    def _target(
        cursor: Cursor, plugin: str, given: pb.Distribution, wanted: set[str]
    ) -> dict[str, Any]:
        """The columns that say what is served: at most one of the three, found by full name."""
        chosen = [name for name in _TARGETS if name in wanted and getattr(given, name)]
        if len(chosen) > 1:
            raise FieldInvalidError.at(
                f"distribution.{chosen[1]}",
                f"cannot be given together with {chosen[0]}: a distribution serves one thing.",
            )
        columns: dict[str, Any] = {"repository_id": None, "number": None, "publication_id": None}
        if not chosen:
            return columns
        field = f"distribution.{chosen[0]}"
        name = getattr(given, chosen[0])
        if name.split("/")[1] != plugin:
            raise FieldInvalidError.at(field, f"{name} is not of the plugin {plugin}.")
        try:
            if chosen[0] == "publication":
                columns["publication_id"] = publications.get(cursor, name).publication_id
            elif chosen[0] == "version":
                repository, version = versions.get(cursor, name)
                columns |= {"repository_id": repository.repository_id, "number": version.number}
            else:
                columns["repository_id"] = repositories.get(cursor, name).repository_id
        except ResourceNotFoundError as error:
            raise ResourceNotFoundError(
                f"{field}: {error.message}", metadata=error.metadata
            ) from error
        return columns

    def _url(self, row: DistributionRow) -> str:
        return f"{self._content_url}/{quote(row.base_path, safe='/')}/"

    def _encode(self, row: DistributionRow) -> pb.Distribution:
        return distribution_message(row, self._resource.spec(row), self._url(row))


def distribution_message(
    row: DistributionRow, spec: any_pb2.Any | None, content_url: str
) -> pb.Distribution:
    """The message of a distribution, with the fields of its plugin and where clients find it."""
    return pb.Distribution(
        name=row.full_name,
        plugin=row.plugin,
        base_path=row.base_path,
        repository=row.repository,
        version=row.version,
        publication=row.publication,
        description=row.description,
        labels=row.labels,
        spec=spec,
        content_url=content_url,
        etag=row.etag,
        create_time=timestamp(row.created_at),
        update_time=timestamp(row.updated_at),
        grace_seconds=row.grace_seconds,
    )


def _spell_out(given: pb.Distribution, plugin: str, wanted: set[str]) -> None:
    """Has what is to be served named in full."""
    for name in _TARGETS:
        if name in wanted and getattr(given, name):
            collection = "publications" if name == "publication" else "repositories"
            field = f"distribution.{name}"
            setattr(given, name, full_name(getattr(given, name), collection, plugin, field=field))


def _grace_seconds(given: pb.Distribution) -> int:
    if not given.HasField("grace_seconds"):
        return _DEFAULT_GRACE_SECONDS
    if not 0 <= given.grace_seconds <= _MAX_GRACE_SECONDS:
        raise FieldInvalidError.at(
            "distribution.grace_seconds", f"must be 0 to {_MAX_GRACE_SECONDS:,} seconds."
        )
    return given.grace_seconds


def guide_facts(content_url: str, base_path: str, path: str) -> dict[str, str]:
    """What stands in a guide for each placeholder.

    Paths are made safe for a shell and a URL at once by percent-encoding.
    """
    return {
        "{content_url}": content_url,
        "{base_path}": quote(base_path, safe="/"),
        "{path}": quote(path, safe="/"),
    }


def fill(template: str, facts: dict[str, str]) -> str:
    """The text of a guide, with what stands in it for placeholders."""
    for name, value in facts.items():
        template = template.replace(name, value)
    return template
