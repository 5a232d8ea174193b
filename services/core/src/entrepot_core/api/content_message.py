"""Content units between messages and what core works with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.core.v1 import content_service_pb2
from entrepot.type.v1 import content_pb2, digest_pb2
from entrepot_core.api.blob_messages import algorithm_number, decode_expected
from entrepot_core.api.named_resource import timestamp
from entrepot_core.domain.digest import ALGORITHMS
from entrepot_core.domain.errors import FieldInvalidError
from entrepot_core.domain.paths import check_path
from entrepot_core.domain.unit import Artifact, Edge, EdgeKind, EdgeScope, Source, Unit
from entrepot_core.domain.urls import check_source_url
from entrepot_core.plugins.descriptors import pack_bytes
from entrepot_core.plugins.units import parse_attributes, parse_key, parse_unit_name
from entrepot_core.store import content_types

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from entrepot_core.domain.unit import ContentType
    from entrepot_core.plugins.catalog import Catalog
    from entrepot_core.plugins.units import ParsedUnit, UnitKey
    from entrepot_core.store.content import ContentRow
    from entrepot_core.store.database import Cursor

__all__ = ["decode_units", "encode_content", "encode_unit", "number_types"]

_MAX_ARTIFACTS = 1_000
_MAX_SOURCES = 32
_MAX_EDGES = 10_000


def decode_units(
    cursor: Cursor,
    catalog: Catalog,
    plugin: str,
    messages: Sequence[content_pb2.ContentUnit],
    remotes: Mapping[str, int],
) -> list[Unit]:
    """Units as a plugin stages them; `remotes` are those it was lent, by role.

    Raises FieldInvalidError, PathInvalidError and BatchTooLargeError, which name field or path.
    """
    parsed: list[tuple[ParsedUnit, tuple[Artifact, ...], list[tuple[int, int, UnitKey]]]] = []
    for index, message in enumerate(messages):
        field = f"adds[{index}]"
        unit = parse_attributes(catalog, message.attributes, f"{field}.attributes", plugin=plugin)
        parsed.append(
            (
                unit,
                _artifacts(message.artifacts, f"{field}.artifacts", remotes),
                _edges(catalog, plugin, message.edges, f"{field}.edges"),
            )
        )
    names = {unit.content_type.name for unit, _, _ in parsed}
    names |= {key.content_type for _, _, edges in parsed for _, _, key in edges}
    types = number_types(cursor, catalog, names)
    return [
        Unit(
            type=types[unit.content_type.name],
            key_digest=unit.key_digest,
            attributes=unit.attributes,
            repo_key=unit.repository_key or None,
            filter=unit.filter,
            artifacts=artifacts,
            edges=tuple(
                Edge(kind, scope, types[k.content_type].type_id, k.content_type, k.digest)
                for kind, scope, k in edges
            ),
            implied=message.implied,
        )
        for (unit, artifacts, edges), message in zip(parsed, messages, strict=True)
    ]


def number_types(cursor: Cursor, catalog: Catalog, names: set[str]) -> dict[str, ContentType]:
    """The content types with these names, numbered."""
    views = [view for name in names if (view := catalog.content_type(name)) is not None]
    return content_types.number(
        cursor, [(view.plugin, view.name, view.collection) for view in views]
    )


def encode_unit(
    catalog: Catalog, row: ContentRow, *, attributes_only: bool = False
) -> content_pb2.ContentUnit:
    """A unit as it is stored."""
    view = catalog.content_type(row.type.name)
    unit = content_pb2.ContentUnit(name=row.name, implied=not row.is_explicit)
    if view is not None:
        unit.attributes.CopyFrom(pack_bytes(view.attributes_message, row.attributes))
    if attributes_only:
        return unit
    for artifact in row.artifacts:
        unit.artifacts.append(
            content_pb2.Artifact(
                relative_path=artifact.relative_path, digests=_encode_digests(artifact)
            )
        )
    for edge in row.edges:
        unit.edges.append(
            content_pb2.Edge(
                target=content_pb2.Edge.Target(name=edge.target),
                kind=content_pb2.Edge.Kind.ValueType(edge.kind),
                scope=content_pb2.Edge.Scope.ValueType(edge.scope),
            )
        )
    return unit


def encode_content(catalog: Catalog, row: ContentRow) -> content_service_pb2.Content:
    """A unit with what core knows of it."""
    return content_service_pb2.Content(
        name=row.name,
        content_type=row.type.name,
        unit=encode_unit(catalog, row),
        create_time=timestamp(row.created_at),
        is_stored=row.is_stored,
    )


def _encode_digests(artifact: Artifact) -> list[digest_pb2.Digest]:
    size = artifact.size_bytes
    found = []
    if artifact.sha256 is not None:
        found.append(
            digest_pb2.Digest(
                algorithm=digest_pb2.Digest.ALGORITHM_SHA256,
                hex=artifact.sha256.hex(),
                size_bytes=size,
            )
        )
    found += [
        digest_pb2.Digest(algorithm=algorithm_number(name), hex=value, size_bytes=size)
        for name, value in sorted(artifact.other_digests.items())
        # A release after this one may know more.
        if name in ALGORITHMS
    ]
    return found


def _artifacts(
    messages: Sequence[content_pb2.Artifact], field: str, remotes: Mapping[str, int]
) -> tuple[Artifact, ...]:
    if len(messages) > _MAX_ARTIFACTS:
        raise FieldInvalidError.at(field, f"a unit has at most {_MAX_ARTIFACTS:,} files.")
    found: dict[str, Artifact] = {}
    for index, message in enumerate(messages):
        where = f"{field}[{index}]"
        path = check_path(message.relative_path)
        if path in found:
            raise FieldInvalidError.at(where, f'the unit has two files "{path}".')
        found[path] = _artifact(message, path, where, remotes)
    return tuple(found[path] for path in sorted(found, key=str.encode))


def _artifact(
    message: content_pb2.Artifact, path: str, where: str, remotes: Mapping[str, int]
) -> Artifact:
    expected = decode_expected(message.digests, f"{where}.digests")
    digests = dict(expected.digests)
    sources = _sources(message.sources, f"{where}.sources", remotes)
    if not digests and not sources:
        raise FieldInvalidError.at(
            where, f'of "{path}" neither a digest nor a source is given: one is needed.'
        )
    return Artifact(
        relative_path=path,
        sha256=digests.pop("sha256", None),
        size_bytes=expected.size_bytes,
        other_digests={name: value.hex() for name, value in digests.items()},
        sources=sources,
    )


def _sources(
    messages: Sequence[content_pb2.RemoteSource], field: str, remotes: Mapping[str, int]
) -> tuple[Source, ...]:
    if len(messages) > _MAX_SOURCES:
        raise FieldInvalidError.at(field, f"a file has at most {_MAX_SOURCES} sources.")
    found = []
    for index, message in enumerate(messages):
        where = f"{field}[{index}]"
        if message.remote_role not in remotes:
            raise FieldInvalidError.at(
                f"{where}.remote_role",
                f'no remote was lent as "{message.remote_role}"; there are '
                f"{', '.join(sorted(remotes)) or 'none'}.",
            )
        url = check_source_url(message.url, f"{where}.url")
        found.append(Source(remotes[message.remote_role], url))
    return tuple(found)


def _edges(
    catalog: Catalog, plugin: str, messages: Sequence[content_pb2.Edge], field: str
) -> list[tuple[int, int, UnitKey]]:
    if len(messages) > _MAX_EDGES:
        raise FieldInvalidError.at(field, f"a unit has at most {_MAX_EDGES:,} relations.")
    found = []
    for index, message in enumerate(messages):
        where = f"{field}[{index}]"
        if int(message.kind) not in set(EdgeKind):
            raise FieldInvalidError.at(f"{where}.kind", "is required.")
        if int(message.scope) not in set(EdgeScope):
            raise FieldInvalidError.at(f"{where}.scope", "is required.")
        if message.target.WhichOneof("by") == "key":
            key = parse_key(catalog, message.target.key, f"{where}.target.key")
        else:
            key = parse_unit_name(catalog, message.target.name, f"{where}.target.name")
        view = catalog.content_type(key.content_type)
        # A relation brings its target along, so it must not reach into what others know.
        if view is None or view.plugin != plugin:
            raise FieldInvalidError.at(
                f"{where}.target", f"is no content type of the plugin {plugin}."
            )
        found.append((int(message.kind), int(message.scope), key))
    return found
