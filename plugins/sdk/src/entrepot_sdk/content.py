"""What units are made of: attributes, files, and relations to other units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from google.protobuf.message import Message

from entrepot.type.v1.content_pb2 import Artifact, Edge, RemoteSource
from entrepot.type.v1.digest_pb2 import Digest
from entrepot_sdk.errors import TaskFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from entrepot.type.v1.content_pb2 import ContentUnit

__all__ = ["Scope", "Unit", "artifact", "attaches", "context", "needs", "sha256_digest"]

M = TypeVar("M", bound=Message)
Scope = Literal["global", "version"]

# The zero value is no algorithm.
_ALGORITHMS = {
    name.removeprefix("ALGORITHM_").lower(): number
    for name, number in Digest.Algorithm.items()
    if number
}
_SCOPES = {"global": Edge.SCOPE_GLOBAL, "version": Edge.SCOPE_VERSION}


@dataclass(frozen=True, slots=True)
class Unit(Generic[M]):
    """A unit that core has: what `Workspace.read` yields."""

    name: str
    attributes: M
    artifacts: Sequence[Artifact]
    edges: Sequence[Edge]
    implied: bool

    @classmethod
    def of(cls, unit: ContentUnit, attributes: type[M]) -> Unit[M]:
        """The unit in a message, with attributes of the type that is expected."""
        message = attributes()
        if not unit.attributes.Unpack(message):
            raise TypeError(f"{unit.name} is not a {message.DESCRIPTOR.full_name}")
        return cls(unit.name, message, unit.artifacts, unit.edges, unit.implied)


def artifact(
    relative_path: str,
    *,
    sha256: str = "",
    size_bytes: int | None = None,
    digests: dict[str, str] | None = None,
    url: str | Sequence[str] = (),
    remote: str = "remote",
) -> Artifact:
    """A file of a unit.

    Args:
        relative_path: Where it is served below the distribution.
        sha256: In lowercase hexadecimal, if known.
        size_bytes: Length, if known.
        digests: Others, by algorithm: {"sha512": "…"}; all are verified. The names are those of
            `Digest.Algorithm`, in lower case. TaskFailed, with the reason DIGEST_UNKNOWN, if one
            is none of them.
        url: Where core may fetch it from, best first; none if core has the bytes.
        remote: Role of the remote that the URLs belong to.
    """
    known = {**({"sha256": sha256} if sha256 else {}), **(digests or {})}
    urls = [url] if isinstance(url, str) else url
    return Artifact(
        relative_path=relative_path,
        digests=[
            Digest(algorithm=_algorithm(name, relative_path), hex=value, size_bytes=size_bytes)
            for name, value in known.items()
        ],
        sources=[RemoteSource(remote_role=remote, url=one) for one in urls],
    )


def sha256_digest(sha256: str, size_bytes: int | None = None) -> Digest:
    """The content address of some bytes."""
    return Digest(algorithm=Digest.ALGORITHM_SHA256, hex=sha256, size_bytes=size_bytes)


def needs(target: Message | str, scope: Scope = "global") -> Edge:
    """The target must be in every version that holds the unit: a manifest needs its layers.

    Args:
        target: The other unit's name, or its attributes with at least the key fields set.
        scope: "global" for a fact about bytes, "version" for one about the repository.
    """
    return _edge(target, Edge.KIND_NEEDS, scope)


def attaches(target: Message | str, scope: Scope = "global") -> Edge:
    """The unit leaves when its target leaves: a signature attaches to what it signs."""
    return _edge(target, Edge.KIND_ATTACHES, scope)


def context(target: Message | str, scope: Scope = "global") -> Edge:
    """The target is carried along on copy, and harmless if absent."""
    return _edge(target, Edge.KIND_CONTEXT, scope)


def _edge(target: Message | str, kind: Edge.Kind.ValueType, scope: Scope) -> Edge:
    edge = Edge(kind=kind, scope=_SCOPES[scope])
    if isinstance(target, str):
        edge.target.name = target
    else:
        edge.target.key.Pack(target, deterministic=True)
    return edge


def _algorithm(name: str, path: str) -> Digest.Algorithm.ValueType:
    known = _ALGORITHMS.get(name)
    if known is None:
        raise TaskFailed(
            "DIGEST_UNKNOWN",
            f'The file {path} has a digest of the algorithm "{name}", which cannot be verified; '
            f"these can: {', '.join(sorted(_ALGORITHMS))}.",
            metadata={"path": path, "algorithm": name},
        )
    return known
