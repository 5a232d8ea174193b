"""References in parameters: reading names, finding what they name, lending it to an attempt."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from entrepot.plugin.v1 import describe_pb2, plugin_tasks_pb2
from entrepot_core.domain.errors import (
    FieldInvalidError,
    Precondition,
    ResourceNotFoundError,
    UploadConflictError,
    Violation,
)
from entrepot_core.domain.names import full_name
from entrepot_core.plugins.units import parse_unit_name
from entrepot_core.store import blobs, lending, references, remotes, repositories

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from google.protobuf.descriptor import FieldDescriptor
    from google.protobuf.message import Message

    from entrepot_core.plugins.catalog import Catalog
    from entrepot_core.plugins.descriptors import Declaration, ReferenceField, TaskTypeView
    from entrepot_core.plugins.units import UnitKey
    from entrepot_core.store.database import Cursor

__all__ = [
    "Bound",
    "Reference",
    "absent",
    "lend",
    "locked_names",
    "locks",
    "read",
    "resolve",
    "to_resources",
]

_KIND = describe_pb2
_COLLECTIONS: dict[int, str] = {
    _KIND.RESOURCE_KIND_REPOSITORY: "repositories",
    _KIND.RESOURCE_KIND_REPOSITORY_VERSION: "repositories",
    _KIND.RESOURCE_KIND_REMOTE: "remotes",
    _KIND.RESOURCE_KIND_PUBLICATION: "publications",
    _KIND.RESOURCE_KIND_DISTRIBUTION: "distributions",
    _KIND.RESOURCE_KIND_CONTENT: "content",
    _KIND.RESOURCE_KIND_UPLOAD: "uploads",
}
_UNLOCKED = {_KIND.RESOURCE_KIND_CONTENT, _KIND.RESOURCE_KIND_UPLOAD}
_PLAIN = {
    _KIND.RESOURCE_KIND_REPOSITORY,
    _KIND.RESOURCE_KIND_REMOTE,
    _KIND.RESOURCE_KIND_PUBLICATION,
    _KIND.RESOURCE_KIND_DISTRIBUTION,
}
_PLUGIN_SEGMENTS = 3
# No name has a longer part, and an index of the database could not take one.
_MAX_SEGMENT = 128
_VERSION = re.compile(r"(repositories/[^/]+/[^/]+)(?:/versions/(0|[1-9][0-9]{0,8}))?")


@dataclass(frozen=True, slots=True)
class Reference:
    """A resource that a field names, in full; `field` is its path, "files[2].upload"."""

    role: str
    field: str
    kind: int
    name: str
    is_exclusive: bool

    @property
    def lock(self) -> str:
        """Name of the resource to lock: of a version its repository; empty if none."""
        return "" if self.kind in _UNLOCKED else self.name.partition("/versions/")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A reference and what it was found to name."""

    reference: Reference
    spec: bytes = b""
    repository_id: int = 0
    base_version: int = 0
    unit_count: int = 0
    state: bytes = b""
    remote_id: int = 0
    url: str = ""
    policy: str = ""
    content_id: int = 0
    upload: references.UploadFacts | None = None


def read(view: TaskTypeView, message: Message) -> list[Reference]:
    """The references in parameters, which afterwards have full names in these fields.

    Raises FieldInvalidError for what cannot be the name of such a resource.
    """
    return [
        reference
        for declared in view.references
        for holder, prefix in _holders(message, declared.path[:-1])
        for reference in _read_field(view, declared, holder, prefix)
    ]


def locks(found: Iterable[Reference]) -> dict[str, bool]:
    """Names of the resources to lock, and whether exclusively, which wins over shared."""
    wanted: dict[str, bool] = {}
    for reference in found:
        if reference.lock:
            wanted[reference.lock] = wanted.get(reference.lock, False) or reference.is_exclusive
    return wanted


def locked_names(found: Iterable[Reference]) -> list[str]:
    """Full names of what the references name and locks protect, versions with their numbers."""
    return [reference.name for reference in found if reference.lock]


def absent(found: Iterable[Reference], name: str) -> ResourceNotFoundError:
    """The error of a reference to what is not there, which names the field."""
    return _absent(next(reference for reference in found if reference.name == name))


def resolve(cursor: Cursor, catalog: Catalog, found: Sequence[Reference]) -> list[Bound]:
    """What the references name, now.

    Raises ResourceNotFoundError or UploadConflictError naming field and resource.
    """
    units: dict[str, UnitKey] = {
        reference.field: parse_unit_name(catalog, reference.name, reference.field)
        for reference in found
        if reference.kind == _KIND.RESOURCE_KIND_CONTENT
    }
    content = references.content(
        cursor, {(key.content_type, key.digest) for key in units.values()}
    )
    uploads = references.uploads(
        cursor,
        [_id_of(one) for one in found if one.kind == _KIND.RESOURCE_KIND_UPLOAD],
    )
    bounds = []
    for reference in found:
        key = units.get(reference.field)
        if key is not None:
            content_id = content.get((key.content_type, key.digest))
            if content_id is None:
                raise _absent(reference)
            bounds.append(Bound(reference=reference, content_id=content_id))
        elif reference.kind == _KIND.RESOURCE_KIND_UPLOAD:
            bounds.append(_upload(uploads.get(_id_of(reference)), reference))
        else:
            bounds.append(_RESOLVERS[reference.kind](cursor, reference))
    return bounds


def require_own(cursor: Cursor, principal: str, found: Sequence[Reference]) -> None:
    """Refuses what belongs to somebody else, as if it did not exist: ResourceNotFoundError."""
    named = [one for one in found if one.kind == _KIND.RESOURCE_KIND_UPLOAD]
    if named:
        own = references.own_uploads(cursor, principal, [_id_of(one) for one in named])
        for reference in named:
            if _id_of(reference) not in own:
                raise _absent(reference)


def lend(cursor: Cursor, workspace_id: int, bounds: Sequence[Bound]) -> None:
    """Lets an attempt use what its parameters name, and nothing else."""
    units = []
    uploads = []
    for bound in bounds:
        kind = bound.reference.kind
        if bound.repository_id:
            lent = lending.LentRepository(
                bound.reference.role,
                bound.repository_id,
                bound.base_version,
                is_writable=kind == _KIND.RESOURCE_KIND_REPOSITORY
                and bound.reference.is_exclusive,
            )
            lending.lend_repository(cursor, workspace_id, lent)
        elif bound.remote_id:
            lending.lend_remote(cursor, workspace_id, bound.reference.role, bound.remote_id)
        elif bound.content_id:
            units.append(bound.content_id)
        elif bound.upload is not None and bound.upload.digest is not None:
            uploads.append(bound.upload.digest)
    if units:
        lending.lend_content(cursor, workspace_id, units)
    if uploads:
        blobs.hold(cursor, workspace_id, uploads)


def to_resources(
    declaration: Declaration, bounds: Sequence[Bound]
) -> list[plugin_tasks_pb2.BoundResource]:
    """What is lent, as a plugin sees it."""
    return [_to_resource(declaration, bound) for bound in bounds]


def _holders(
    message: Message, path: Sequence[FieldDescriptor], prefix: str = ""
) -> Iterator[tuple[Message, str]]:
    """The messages that a path leads to, each with the text before the names of its fields."""
    if not path:
        yield message, prefix
        return
    field, *rest = path
    if field.is_repeated:
        for index, inner in enumerate(getattr(message, field.name)):
            yield from _holders(inner, rest, f"{prefix}{field.name}[{index}].")
    elif message.HasField(field.name):
        yield from _holders(getattr(message, field.name), rest, f"{prefix}{field.name}.")


def _read_field(
    view: TaskTypeView, declared: ReferenceField, holder: Message, prefix: str
) -> Iterator[Reference]:
    name = declared.field.name
    value = getattr(holder, name)
    given = list(value) if declared.field.is_repeated else [value] if value else []
    names = []
    for index, one in enumerate(given):
        field = f"{prefix}{name}[{index}]" if declared.field.is_repeated else f"{prefix}{name}"
        full = _full_name(view, declared.kind, one, field)
        names.append(full)
        yield Reference(declared.role, field, declared.kind, full, declared.is_exclusive)
    if declared.field.is_repeated:
        value[:] = names
    elif names:
        setattr(holder, name, names[0])


def _full_name(view: TaskTypeView, kind: int, given: str, field: str) -> str:
    collection = _COLLECTIONS[kind]
    plugin = "" if kind == _KIND.RESOURCE_KIND_UPLOAD else view.plugin
    name = full_name(given, collection, plugin, field=field)
    segments = name.split("/")
    if max(map(len, segments)) > _MAX_SEGMENT:
        raise FieldInvalidError.at(
            field, f"names nothing: a part of the name is longer than {_MAX_SEGMENT} characters."
        )
    if plugin and (len(segments) < _PLUGIN_SEGMENTS or segments[1] != plugin):
        raise FieldInvalidError.at(
            field, f'"{given}" is not one of the {collection} of the plugin {plugin}.'
        )
    if kind == _KIND.RESOURCE_KIND_REPOSITORY_VERSION:
        name = name.removesuffix("/versions/latest")
        if not _VERSION.fullmatch(name):
            raise FieldInvalidError.at(
                field, f'"{given}" is not a repository or a version: write foo, or foo@3.'
            )
    elif kind in _PLAIN and len(segments) != _PLUGIN_SEGMENTS:
        raise FieldInvalidError.at(field, f'"{given}" is not the name of one of the {collection}.')
    if kind in {_KIND.RESOURCE_KIND_UPLOAD, _KIND.RESOURCE_KIND_PUBLICATION}:
        _check_id(segments[-1], given, field)
    return name


def _check_id(text: str, given: str, field: str) -> None:
    try:
        uuid.UUID(text)
    except ValueError as error:
        raise FieldInvalidError.at(field, f'"{given}" does not end in an id.') from error


def _absent(reference: Reference) -> ResourceNotFoundError:
    message = f"There is no {reference.name}."
    return ResourceNotFoundError(
        f"{reference.field}: {message}",
        metadata={"resource": reference.name},
        violations=(Violation(reference.field, message, ResourceNotFoundError.reason),),
    )


def _repository(cursor: Cursor, reference: Reference) -> Bound:
    match = _VERSION.fullmatch(reference.name)
    row = repositories.find(cursor, match[1]) if match else None
    if row is None or match is None:
        raise _absent(reference)
    number = row.latest if match[2] is None else int(match[2])
    count = references.unit_count(cursor, row.repository_id, number)
    if count is None:
        raise _absent(reference)
    return Bound(
        reference=reference,
        spec=row.spec,
        repository_id=row.repository_id,
        base_version=number,
        unit_count=count,
        state=repositories.hint(cursor, row.repository_id, number),
    )


def _remote(cursor: Cursor, reference: Reference) -> Bound:
    row = remotes.find(cursor, reference.name)
    if row is None:
        raise _absent(reference)
    return Bound(
        reference=reference,
        spec=row.spec,
        remote_id=row.remote_id,
        url=row.url,
        policy=row.policy,
    )


def _publication(cursor: Cursor, reference: Reference) -> Bound:
    _, plugin, publication_id = reference.name.split("/")
    if not references.publication_exists(cursor, plugin, publication_id):
        raise _absent(reference)
    return Bound(reference=reference)


def _distribution(cursor: Cursor, reference: Reference) -> Bound:
    _, plugin, name = reference.name.split("/")
    if not references.distribution_exists(cursor, plugin, name):
        raise _absent(reference)
    return Bound(reference=reference)


def _id_of(reference: Reference) -> str:
    return str(uuid.UUID(reference.name.rpartition("/")[2]))


def _upload(facts: references.UploadFacts | None, reference: Reference) -> Bound:
    if facts is None:
        raise _absent(reference)
    if facts.digest is None:
        message = f"{reference.name} is not complete: {facts.size_bytes} bytes have come so far."
        raise UploadConflictError(
            f"{reference.field}: {message}",
            metadata={"offset": str(facts.size_bytes)},
            preconditions=(Precondition("UPLOAD", reference.name, message),),
        )
    return Bound(reference=reference, upload=facts)


_RESOLVERS: dict[int, Any] = {
    _KIND.RESOURCE_KIND_REPOSITORY: _repository,
    _KIND.RESOURCE_KIND_REPOSITORY_VERSION: _repository,
    _KIND.RESOURCE_KIND_REMOTE: _remote,
    _KIND.RESOURCE_KIND_PUBLICATION: _publication,
    _KIND.RESOURCE_KIND_DISTRIBUTION: _distribution,
}


def _to_resource(declaration: Declaration, bound: Bound) -> plugin_tasks_pb2.BoundResource:
    kind = bound.reference.kind
    if kind == _KIND.RESOURCE_KIND_REPOSITORY_VERSION:
        kind = _KIND.RESOURCE_KIND_REPOSITORY
    resource = plugin_tasks_pb2.BoundResource(
        role=bound.reference.role,
        name=bound.reference.name,
        kind=_KIND.ResourceKind.ValueType(bound.reference.kind),
        spec=declaration.pack_spec(kind, bound.spec),
    )
    if bound.repository_id:
        resource.repository.base_version = bound.base_version
        resource.repository.unit_count = bound.unit_count
        resource.repository.state = bound.state
    elif bound.remote_id:
        resource.remote.url = bound.url
        resource.remote.policy = bound.policy
    elif bound.upload is not None:
        resource.upload.sha256 = (bound.upload.digest or b"").hex()
        resource.upload.size_bytes = bound.upload.size_bytes
        resource.upload.filename = bound.upload.filename
    return resource
