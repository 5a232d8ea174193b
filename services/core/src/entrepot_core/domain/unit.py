"""A content unit as core handles it, and the digest that says that two are the same."""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TypeAlias

__all__ = [
    "Artifact",
    "ContentType",
    "Edge",
    "EdgeKind",
    "EdgeScope",
    "Source",
    "Unit",
    "content_name",
    "unit_digest",
]

FilterValue: TypeAlias = "str | int | float | bool"


class EdgeKind(enum.IntEnum):
    """What a relation means; the numbers are those of entrepot.type.v1.Edge and of the tables."""

    NEEDS = 1
    ATTACHES = 2
    CONTEXT = 3


class EdgeScope(enum.IntEnum):
    """How far a relation holds."""

    GLOBAL = 1
    VERSION = 2


@dataclass(frozen=True, slots=True)
class ContentType:
    """A kind of unit: "file.file" of plugin "file", with units named "content/file/files/…"."""

    type_id: int
    plugin: str
    name: str
    collection: str


@dataclass(frozen=True, slots=True)
class Source:
    """One place a file can be fetched from."""

    remote_id: int
    url: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file of a unit.

    Without sha256 its bytes are known by its sources, and maybe by other digests, as hexadecimal.
    """

    relative_path: str
    sha256: bytes | None = None
    size_bytes: int | None = None
    other_digests: dict[str, str] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """A relation to the unit with this type and key."""

    kind: int
    scope: int
    type_id: int
    type_name: str
    key_digest: bytes


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit to be staged.

    `attributes` are the bytes core serialised, `filter` the fields that lists are filtered by.
    """

    type: ContentType
    key_digest: bytes
    attributes: bytes
    repo_key: str | None = None
    filter: dict[str, FilterValue] = field(default_factory=dict)
    artifacts: tuple[Artifact, ...] = ()
    edges: tuple[Edge, ...] = ()
    implied: bool = False

    @property
    def name(self) -> str:
        """Name of the unit, the same on every server."""
        return content_name(self.type, self.key_digest)

    @property
    def label(self) -> str:
        """What a person knows it by: its first path, its repository key, or its name."""
        return self.artifacts[0].relative_path if self.artifacts else self.repo_key or self.name


def content_name(content_type: ContentType, key_digest: bytes) -> str:
    """The name of a unit: "content/file/files/<key digest in hexadecimal>"."""
    return f"content/{content_type.plugin}/{content_type.collection}/{key_digest.hex()}"


def unit_digest(unit: Unit) -> bytes:
    """SHA-256 over attributes, files and global relations: equal for the same unit.

    A file counts by its SHA-256, or by the other digests while that is not known; its sources do
    not count.
    """
    parts = [_sized(unit.attributes), len(unit.artifacts).to_bytes(4, "little")]
    for artifact in sorted(unit.artifacts, key=_path_of):
        parts.append(_sized(artifact.relative_path.encode()))
        if artifact.sha256 is not None:
            parts += (_SHA256, _sized(artifact.sha256))
        else:
            others = sorted(artifact.other_digests.items())
            parts.append(_sized(";".join(f"{k}={v}" for k, v in others).encode()))
    own = sorted(
        {(e.kind, e.type_name, e.key_digest) for e in unit.edges if e.scope == EdgeScope.GLOBAL}
    )
    for kind, type_name, key_digest in own:
        parts += (
            _sized(kind.to_bytes(1, "little")),
            _sized(type_name.encode()),
            _sized(key_digest),
        )
    return hashlib.sha256(b"".join(parts)).digest()


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(8, "little") + data


_SHA256 = _sized(b"sha256")
_path_of = attrgetter("relative_path")
