"""What servicers of repositories, remotes and distributions share: names, labels, specs, masks."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from google.protobuf import timestamp_pb2

from entrepot_core.api.paging import page_size, read_token, token_error, write_token
from entrepot_core.domain.errors import FieldInvalidError, Violation
from entrepot_core.domain.names import user_segment
from entrepot_core.plugins import messages
from entrepot_core.store import events
from entrepot_core.store.named import Page

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from google.protobuf import any_pb2
    from google.protobuf.message import Message

    from entrepot_core.plugins.descriptors import Declaration
    from entrepot_core.plugins.registry import Registry
    from entrepot_core.store.database import Database
    from entrepot_core.store.named import Named

__all__ = [
    "NamedResource",
    "check_text",
    "next_token",
    "notify_pointers",
    "read_position",
    "timestamp",
]


_MAX_LABELS = 64
_MAX_LABEL_CHARACTERS = 128
_MAX_DESCRIPTION_CHARACTERS = 4096
_IGNORED = {"name", "etag"}
# What JSON can spell and PostgreSQL cannot hold: NUL, and surrogates without their other half.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class NamedResource:
    """One kind of resource: its collection in names, its field in requests, its own fields."""

    def __init__(
        self, registry: Registry, kind: int, collection: str, field: str, fields: Collection[str]
    ) -> None:
        """`fields` are those that an update may name, besides those of the spec."""
        self._registry = registry
        self._kind = kind
        self._collection = collection
        self._field = field
        self._fields = frozenset(fields)

    def new_name(self, parent: str, name: str) -> dict[str, Any]:
        """Plugin and last segment of a new resource; the plugin must have such resources."""
        collection, _, plugin = parent.strip("/").partition("/")
        if collection != self._collection or not plugin or "/" in plugin:
            raise FieldInvalidError.at("parent", f'must be "{self._collection}/<plugin>".')
        declaration = self._registry.plugin(plugin)
        if not declaration.has_resource_type(self._kind):
            raise FieldInvalidError.at("parent", f"the plugin {plugin} has no {self._collection}.")
        field = f"{self._field}.name"
        return {
            "plugin": plugin,
            "name": user_segment(name, self._collection, plugin, field=field),
        }

    def new_spec(self, plugin: str, packed: any_pb2.Any) -> bytes:
        """The bytes to store of the plugin's own fields, all checked."""
        declaration = self._registry.plugin(plugin)
        given = packed if packed.type_url else declaration.pack_spec(self._kind, b"")
        return declaration.check_spec(self._kind, given, f"{self._field}.spec")

    def spec(self, row: Named) -> any_pb2.Any | None:
        """The plugin's own fields as stored; None if it has none."""
        declaration = self._registry.catalog().any_plugin(row.plugin)
        if declaration is None or not declaration.spec_message(self._kind):
            return None
        return declaration.pack_spec(self._kind, row.spec)

    def changes(self, message: Message, mask: Sequence[str]) -> tuple[set[str], set[str]]:
        """Which fields to change, and which of the spec; an empty mask means those that are set.

        Raises FieldInvalidError for a field there is not, or that core sets.
        """
        if not mask:
            own = {field.name for field, _ in message.ListFields()}
            return own & self._fields, {"spec"} if "spec" in own else set()
        own = set()
        spec = set()
        known = message.DESCRIPTOR.fields_by_name
        for path in mask:
            name = path.removeprefix("spec.")
            if path in self._fields:
                own.add(path)
            elif path in _IGNORED:
                continue
            elif path == "spec":
                spec.add("spec")
            elif path in known:
                raise FieldInvalidError.at(f"{self._field}.{path}", "is set by core.")
            else:
                spec.add(name)
        return own, spec

    def changed_spec(self, row: Named, packed: any_pb2.Any, names: set[str]) -> bytes:
        """The spec with some fields taken from a new one, checked."""
        declaration = self._registry.plugin(row.plugin)
        field = f"{self._field}.spec"
        expected = declaration.spec_message(self._kind)
        descriptor = declaration.descriptor(expected) if expected else None
        for name in sorted(names - {"spec"}):
            if descriptor is None or name not in descriptor.fields_by_name:
                raise FieldInvalidError.at(
                    f"{self._field}.{name}",
                    f"there is no such field; there are {self._known(declaration)}.",
                )
        if not expected:
            if packed.type_url:
                raise FieldInvalidError.at(field, f"the plugin {row.plugin} has no fields here.")
            return b""
        merged = messages.parse(declaration.message_class(expected), row.spec, field)
        given = packed if packed.type_url else declaration.pack_spec(self._kind, b"")
        new = declaration.unpack(given, expected, field)
        if "spec" in names:
            merged.CopyFrom(new)
        else:
            for name in names:
                merged.ClearField(name)
                _copy_field(merged, new, name)
        messages.check(merged, f"{field}.")
        return messages.serialize(merged)

    def page(self, parent: str, size: int, token: str, label: str) -> Page:
        """Which page a List request asks for."""
        collection, _, plugin = parent.strip("/").partition("/")
        if parent and (collection != self._collection or "/" in plugin):
            raise FieldInvalidError.at("parent", f'must be "{self._collection}/<plugin>".')
        if "\0" in label:
            raise FieldInvalidError.at("label", "must not have a NUL character.")
        position = read_position(token, (str, str))
        return Page(
            size=page_size(size) + 1,
            plugin="" if plugin == "-" else plugin,
            after=position or ("", ""),
            label=label,
        )

    def _known(self, declaration: Declaration) -> str:
        descriptor = declaration.descriptor(declaration.spec_message(self._kind))
        own = [] if descriptor is None else [field.name for field in descriptor.fields]
        return ", ".join(sorted({*self._fields, *own}))


def check_text(field: str, description: str, labels: Mapping[str, str]) -> None:
    """Raises FieldInvalidError if description or labels are too long or have a NUL character."""
    violations = []
    if len(description) > _MAX_DESCRIPTION_CHARACTERS or "\0" in description:
        violations.append(
            Violation(
                f"{field}.description",
                f"must be at most {_MAX_DESCRIPTION_CHARACTERS:,} characters without NUL.",
            )
        )
    if len(labels) > _MAX_LABELS:
        violations.append(Violation(f"{field}.labels", f"must be at most {_MAX_LABELS}."))
    for key, value in labels.items():
        where = f'{field}.labels["{key[:_MAX_LABEL_CHARACTERS]}"]'
        if not key or "=" in key:
            violations.append(Violation(where, 'a key must not be empty or have a "=".'))
        if max(len(key), len(value)) > _MAX_LABEL_CHARACTERS or "\0" in key + value:
            violations.append(
                Violation(
                    where, f"must be at most {_MAX_LABEL_CHARACTERS} characters without NUL."
                )
            )
    if violations:
        text = " ".join(f"{v.field}: {v.message}" for v in violations)
        raise FieldInvalidError(text, violations=tuple(violations))


def notify_pointers(database: Database) -> None:
    """Tells those who serve that what is at some base path has changed."""
    with database.statements() as cursor:
        events.notify(cursor, events.POINTERS)


def timestamp(moment: datetime) -> timestamp_pb2.Timestamp:
    """A moment of the database as a message."""
    message = timestamp_pb2.Timestamp()
    message.FromDatetime(moment)
    return message


def next_token(position: Sequence[Any]) -> str:
    """The token of the page after a position."""
    return write_token(json.dumps(position, ensure_ascii=False))


def read_position(token: str, types: Sequence[type]) -> Any:  # noqa: ANN401  a tuple of these types
    """The position in a token, None for the first page. Raises QueryInvalidError."""
    if not token:
        return None
    try:
        position = json.loads(read_token(token))
    except (ValueError, RecursionError):
        position = None
    if (
        not isinstance(position, list)
        or len(position) != len(types)
        or not all(
            isinstance(value, wanted) and not isinstance(value, bool)
            for value, wanted in zip(position, types, strict=True)
        )
        or any(isinstance(value, str) and _UNSTORABLE.search(value) for value in position)
        or any(isinstance(value, int) and not 0 <= value < 2**63 for value in position)
    ):
        raise token_error()
    return tuple(position)


def _copy_field(target: Message, source: Message, name: str) -> None:
    field = source.DESCRIPTOR.fields_by_name[name]
    if field.is_repeated:
        getattr(target, name).MergeFrom(getattr(source, name))
    elif field.message_type is not None:
        if source.HasField(name):
            getattr(target, name).CopyFrom(getattr(source, name))
    elif not field.has_presence or source.HasField(name):
        setattr(target, name, getattr(source, name))
