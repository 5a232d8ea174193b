"""What a plugin is tried with: parameters, what core lends, and what core will answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from google.protobuf.any_pb2 import Any

from entrepot.plugin.v1 import describe_pb2
from entrepot.plugin.v1.plugin_tasks_pb2 import BoundResource
from entrepot.type.v1.content_pb2 import ContentUnit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message

    from entrepot.type.v1.content_pb2 import Artifact, Edge

__all__ = ["Refusal", "Scenario", "pack", "remote", "repository", "unit", "upload", "version"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Parameters that Validate must refuse, and the field it must name."""

    parameters: Message
    field: str
    resources: Sequence[BoundResource] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A task that ends by itself.

    Args:
        name: For the test's name.
        task_type: "file/syncs"
        parameters: What the user asked for.
        resources: What core lends.
        upstream: What core gets from a URL.
        content: The units of each lent repository or version, by role.
        blobs: Bytes that core has.
        verdict: "completed" or "failed".
        reason: Of the failure, if it fails.
        refusals: Variations that Validate refuses.
        is_repeatable: False if a second run may do something else than the first.
    """

    name: str
    task_type: str
    parameters: Message
    resources: Sequence[BoundResource] = ()
    upstream: Mapping[str, bytes] = field(default_factory=dict)
    content: Mapping[str, Sequence[ContentUnit]] = field(default_factory=dict)
    blobs: Sequence[bytes] = ()
    verdict: str = "completed"
    reason: str = ""
    refusals: Sequence[Refusal] = ()
    is_repeatable: bool = True

    @property
    def stages_the_same(self) -> bool:
        """Whether every run stages the same; one that fails stops anywhere."""
        return self.is_repeatable and self.verdict == "completed"


def pack(message: Message) -> Any:
    """The message in an Any; one that is in an Any already stays as it is."""
    if isinstance(message, Any):
        return message
    packed = Any()
    packed.Pack(message, deterministic=True)
    return packed


def repository(
    role: str = "repository",
    *,
    name: str = "repositories/test/one",
    base_version: int = 0,
    unit_count: int = 0,
    state: bytes = b"",
) -> BoundResource:
    """A repository that the task may change."""
    return BoundResource(
        role=role,
        name=name,
        kind=describe_pb2.RESOURCE_KIND_REPOSITORY,
        repository=BoundResource.RepositoryDetail(
            base_version=base_version, unit_count=unit_count, state=state
        ),
    )


def version(
    role: str = "source", *, name: str = "repositories/test/one/versions/1", number: int = 1
) -> BoundResource:
    """A version that the task may read."""
    return BoundResource(
        role=role,
        name=name,
        kind=describe_pb2.RESOURCE_KIND_REPOSITORY_VERSION,
        repository=BoundResource.RepositoryDetail(base_version=number),
    )


def remote(
    url: str,
    role: str = "remote",
    *,
    name: str = "remotes/test/one",
    policy: str = "immediate",
    spec: Message | None = None,
) -> BoundResource:
    """An upstream."""
    return BoundResource(
        role=role,
        name=name,
        kind=describe_pb2.RESOURCE_KIND_REMOTE,
        remote=BoundResource.RemoteDetail(url=url, policy=policy),
        spec=pack(spec) if spec is not None else None,
    )


def upload(
    sha256: str,
    size_bytes: int,
    role: str = "upload",
    *,
    filename: str = "",
    name: str = "uploads/one",
) -> BoundResource:
    """A complete upload."""
    return BoundResource(
        role=role,
        name=name,
        kind=describe_pb2.RESOURCE_KIND_UPLOAD,
        upload=BoundResource.UploadDetail(sha256=sha256, size_bytes=size_bytes, filename=filename),
    )


def unit(
    attributes: Message,
    *,
    name: str = "",
    artifacts: Sequence[Artifact] = (),
    edges: Sequence[Edge] = (),
) -> ContentUnit:
    """A unit that a repository has."""
    return ContentUnit(name=name, attributes=pack(attributes), artifacts=artifacts, edges=edges)
