"""What core lends to a task: the repositories, remotes and uploads that its parameters name."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import Message

from entrepot.plugin.v1 import describe_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.any_pb2 import Any

    from entrepot.plugin.v1.plugin_tasks_pb2 import BoundResource

__all__ = ["Remote", "Repository", "Resource", "ResourceKind", "Resources", "Upload"]

M = TypeVar("M", bound=Message)


class ResourceKind(enum.Enum):
    """What a resource is."""

    REPOSITORY = describe_pb2.RESOURCE_KIND_REPOSITORY
    REPOSITORY_VERSION = describe_pb2.RESOURCE_KIND_REPOSITORY_VERSION
    REMOTE = describe_pb2.RESOURCE_KIND_REMOTE
    PUBLICATION = describe_pb2.RESOURCE_KIND_PUBLICATION
    DISTRIBUTION = describe_pb2.RESOURCE_KIND_DISTRIBUTION
    CONTENT = describe_pb2.RESOURCE_KIND_CONTENT
    UPLOAD = describe_pb2.RESOURCE_KIND_UPLOAD


@dataclass(frozen=True, slots=True)
class Resource:
    """Something a field of the parameters names; `role` is the name of that field.

    Of a field in a message inside of the parameters, it is the path: "files.upload".
    """

    role: str
    name: str
    spec: Any

    def spec_as(self, message: type[M]) -> M:
        """The plugin's own fields of the resource; all empty if there are none."""
        spec = message()
        if self.spec.type_url and not self.spec.Unpack(spec):
            raise TypeError(f"the spec of {self.name} is not a {spec.DESCRIPTOR.full_name}")
        return spec


@dataclass(frozen=True, slots=True)
class Repository(Resource):
    """A repository to change, or a version to read."""

    base_version: int
    unit_count: int
    state: bytes
    is_version: bool


@dataclass(frozen=True, slots=True)
class Remote(Resource):
    """An upstream; `policy` is "immediate", "on_demand" or "streamed"."""

    url: str
    policy: str


@dataclass(frozen=True, slots=True)
class Upload(Resource):
    """A complete upload; `filename` may be empty."""

    sha256: str
    size_bytes: int
    filename: str


class Resources:
    """The resources of a task, by role."""

    def __init__(self, bound: Iterable[BoundResource] = ()) -> None:
        self._resources = [_resource(one) for one in bound]
        self._roles: dict[str, list[Resource]] = {}
        for one in self._resources:
            self._roles.setdefault(one.role, []).append(one)
        self._uploads = {
            (one.role, one.name): one for one in self._resources if isinstance(one, Upload)
        }

    def repository(self, role: str = "repository") -> Repository:
        """The repository, or version, that the field names."""
        return self._one(role, Repository)

    def remote(self, role: str = "remote") -> Remote:
        """The remote that the field names."""
        return self._one(role, Remote)

    def upload(self, role: str = "upload", name: str = "") -> Upload:
        """The upload that the field names; where it can name several, the one of this name."""
        if not name:
            return self._one(role, Upload)
        try:
            return self._uploads[role, name]
        except KeyError:
            raise KeyError(f"the task has no upload {name} in the role {role!r}") from None

    def all(self, role: str) -> list[Resource]:
        """Whatever the field names; nothing if it is empty."""
        return list(self._roles.get(role, ()))

    def repositories(self) -> list[Repository]:
        """Every repository and version."""
        return [one for one in self._resources if isinstance(one, Repository)]

    def _one(self, role: str, kind: type[R]) -> R:
        for resource in self.all(role):
            if isinstance(resource, kind):
                return resource
        raise KeyError(f"the task has no {kind.__name__.lower()} in the role {role!r}")


R = TypeVar("R", bound=Resource)


def _resource(bound: BoundResource) -> Resource:
    common = (bound.role, bound.name, bound.spec)
    match bound.WhichOneof("detail"):
        case "repository":
            of = bound.repository
            is_version = bound.kind == describe_pb2.RESOURCE_KIND_REPOSITORY_VERSION
            return Repository(*common, of.base_version, of.unit_count, of.state, is_version)
        case "remote":
            return Remote(*common, bound.remote.url, bound.remote.policy)
        case "upload":
            upload = bound.upload
            return Upload(*common, upload.sha256, upload.size_bytes, upload.filename)
        case _:
            return Resource(*common)
