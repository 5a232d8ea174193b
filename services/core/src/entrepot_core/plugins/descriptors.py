"""What one plugin declared, with its types at hand.

Messages are built from the proto files that Describe returned; no type of a plugin is compiled in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf import any_pb2, message_factory

from entrepot.plugin.v1 import describe_pb2
from entrepot_core.domain.errors import FieldInvalidError, PluginContractViolationError
from entrepot_core.plugins import messages
from entrepot_rpc.declaration import pool_of, type_name
from entrepot_rpc.field import is_map, is_reference, message_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import Descriptor, FieldDescriptor
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message import Message

__all__ = ["ContentTypeView", "Declaration", "ReferenceField", "TaskTypeView"]

TYPE_URL_PREFIX = "type.googleapis.com/"


@dataclass(frozen=True, slots=True)
class ReferenceField:
    """A field of a parameters message, or of one inside of it, that names resources.

    Its role is its name, and inside of another message the names that lead to it: "files.upload".
    """

    path: tuple[FieldDescriptor, ...]
    kind: int
    is_exclusive: bool

    @property
    def role(self) -> str:
        """Under which what it names is lent."""
        return ".".join(field.name for field in self.path)

    @property
    def field(self) -> FieldDescriptor:
        """The field itself."""
        return self.path[-1]

    @property
    def is_many(self) -> bool:
        """Whether it can name several resources in one task."""
        return any(field.is_repeated for field in self.path)


@dataclass(frozen=True, slots=True)
class TaskTypeView:
    """A task type with its plugin: "file/syncs"."""

    name: str
    plugin: str
    declared: describe_pb2.TaskType
    references: tuple[ReferenceField, ...]

    @property
    def parameters_message(self) -> str:
        return self.declared.parameters_message

    @property
    def timeout_seconds(self) -> float:
        """Longest time of one attempt."""
        seconds = self.declared.default_timeout.ToMilliseconds() / 1000
        return seconds if seconds > 0 else 6 * 3600.0

    @property
    def is_core_work(self) -> bool:
        """Whether core does the work itself, without calling Execute."""
        return self.plugin == "core" or self.declared.implementation in {
            describe_pb2.TaskType.IMPLEMENTATION_CORE_ADD,
            describe_pb2.TaskType.IMPLEMENTATION_CORE_REMOVE,
            describe_pb2.TaskType.IMPLEMENTATION_CORE_COPY,
        }


@dataclass(frozen=True, slots=True)
class ContentTypeView:
    """A content type with its plugin: "file.file", in the collection content/file/files."""

    name: str
    plugin: str
    collection: str
    declared: describe_pb2.ContentType
    key_fields: tuple[str, ...]
    repository_key_fields: tuple[str, ...]
    filterable_fields: tuple[str, ...]

    @property
    def attributes_message(self) -> str:
        return self.declared.attributes_message


class Declaration:
    """One answer to Describe. PluginContractViolationError if it does not hold together."""

    def __init__(self, response: describe_pb2.DescribeResponse) -> None:
        self.response = response
        self.name = response.name
        self.digest = response.declaration_digest
        self.pool = self._build_pool()
        self._classes: dict[str, type[Message]] = {}
        self.task_types = tuple(self._task_type(declared) for declared in response.task_types)
        self.content_types = tuple(
            ContentTypeView(
                declared.name,
                self.name,
                declared.collection,
                declared,
                tuple(declared.key_fields),
                tuple(declared.repository_key_fields),
                tuple(declared.filterable_fields),
            )
            for declared in response.content_types
        )
        self._specs: dict[int, str] = {
            declared.kind: declared.spec_message for declared in response.resource_types
        }

    def message_class(self, full_name: str) -> type[Message]:
        """The class of one of the plugin's messages. KeyError if there is none of this name."""
        known = self._classes.get(full_name)
        if known is None:
            known = message_factory.GetMessageClass(self.pool.FindMessageTypeByName(full_name))
            self._classes[full_name] = known
        return known

    def descriptor(self, full_name: str) -> Descriptor | None:
        """The descriptor of one of the plugin's messages; None if there is none of this name."""
        try:
            return self.pool.FindMessageTypeByName(full_name)
        except KeyError:
            return None

    def has_resource_type(self, kind: int) -> bool:
        """Whether the plugin has repositories, remotes, publications or distributions."""
        return kind in self._specs

    def spec_message(self, kind: int) -> str:
        """Full name of the plugin's own message for a kind of resource; empty if it has none."""
        return self._specs.get(kind, "")

    def unpack(self, packed: any_pb2.Any, expected: str, field: str) -> Message:
        """The message in an Any, parsed but not checked.

        Raises FieldInvalidError at `field` if it is not an `expected`.
        """
        given = type_name(packed.type_url)
        if given != expected:
            raise FieldInvalidError.at(
                field, f"must be a {expected}, and is a {given or 'message without type'}."
            )
        return messages.parse(self.message_class(expected), packed.value, field)

    def unpack_strict(
        self, packed: any_pb2.Any, expected: str, field: str, prefix: str = ""
    ) -> Message:
        """The same, checked field by field; paths in errors start with `prefix`."""
        message = self.unpack(packed, expected, field)
        messages.check(message, prefix)
        return message

    def check_spec(self, kind: int, packed: any_pb2.Any, field: str = "spec") -> bytes:
        """The bytes to store of a resource's own fields, checked; empty if nothing was given."""
        if not packed.type_url:
            return b""
        expected = self.spec_message(kind)
        if not expected:
            raise FieldInvalidError.at(field, f"the plugin {self.name} has no fields here.")
        return messages.serialize(self.unpack_strict(packed, expected, field, f"{field}."))

    def pack_spec(self, kind: int, data: bytes) -> any_pb2.Any:
        """The Any of a resource's own fields as stored; empty if the plugin has none."""
        expected = self.spec_message(kind)
        return pack_bytes(expected, data) if expected else any_pb2.Any()

    def _build_pool(self) -> DescriptorPool:
        try:
            return pool_of(self.response.descriptors.file)
        except ValueError as error:
            raise self._violation(str(error)) from error

    def _task_type(self, declared: describe_pb2.TaskType) -> TaskTypeView:
        descriptor = self.descriptor(declared.parameters_message)
        if descriptor is None:
            raise self._violation(
                f"the parameters message {declared.parameters_message} of {declared.collection} "
                "is not in its proto files."
            )
        references = tuple(_references(descriptor))
        return TaskTypeView(f"{self.name}/{declared.collection}", self.name, declared, references)

    def _violation(self, message: str) -> PluginContractViolationError:
        return PluginContractViolationError(
            f"The declaration of the plugin {self.name} cannot be used: {message}",
            metadata={"plugin": self.name},
        )


def pack_bytes(full_name: str, data: bytes) -> any_pb2.Any:
    """An Any of serialised bytes."""
    return any_pb2.Any(type_url=TYPE_URL_PREFIX + full_name, value=data)


def _references(
    descriptor: Descriptor, path: tuple[FieldDescriptor, ...] = ()
) -> Iterator[ReferenceField]:
    for field in descriptor.fields:
        here = (*path, field)
        if is_reference(field):
            reference = field.GetOptions().Extensions[describe_pb2.reference]
            is_exclusive = reference.access == describe_pb2.Reference.ACCESS_EXCLUSIVE
            yield ReferenceField(here, reference.kind, is_exclusive)
        # A message inside of itself has no last one, and a map no order: there nothing is named.
        elif field.message_type is not None and not (is_map(field) or _leads_back(field, path)):
            yield from _references(message_of(field), here)


def _leads_back(field: FieldDescriptor, path: tuple[FieldDescriptor, ...]) -> bool:
    around = {one.containing_type for one in (*path, field)}
    return message_of(field) in around
