"""What the plugins have declared, as one immutable picture: task types, content types, messages.

Every plugin's proto files live in a pool of their own, so that no plugin can change what another's
message means. Knows no plugin by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import structlog
from google.protobuf import descriptor_pool, message_factory

from entrepot.plugin.v1 import describe_pb2
from entrepot_gateway.comment import core_files, read_comments
from entrepot_gateway.problem import not_found

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf import descriptor_pb2
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

log = structlog.get_logger()

_KINDS = {
    "repositories": describe_pb2.RESOURCE_KIND_REPOSITORY,
    "remotes": describe_pb2.RESOURCE_KIND_REMOTE,
    "publications": describe_pb2.RESOURCE_KIND_PUBLICATION,
    "distributions": describe_pb2.RESOURCE_KIND_DISTRIBUTION,
}


@dataclass(frozen=True, slots=True)
class TaskType:
    """A collection of tasks."""

    plugin: str
    collection: str
    parameters: type[Message]
    result: type[Message] | None
    declaration: describe_pb2.TaskType

    @property
    def name(self) -> str:
        """The name core has for it: "file/syncs"."""
        return f"{self.plugin}/{self.collection}"


@dataclass(frozen=True, slots=True)
class ContentType:
    """A collection of content units."""

    plugin: str
    collection: str
    name: str
    attributes: type[Message]
    filterable: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plugin:
    """One plugin's declaration, with its messages at hand."""

    name: str
    version: str
    digest: str
    tasks: Mapping[str, TaskType]
    contents: Mapping[str, ContentType]
    # Which collections of resources it has, with their kind.
    kinds: Mapping[str, int]
    # The plugin's own fields by kind of resource.
    specs: Mapping[int, type[Message]]
    comments: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, declaration: describe_pb2.DescribeResponse) -> Plugin:
        """The plugin that made this declaration.

        Raises:
            TypeError: its proto files do not fit together.
            KeyError: it names a message that they do not have.

        """
        pool = descriptor_pool.DescriptorPool()
        protos = declaration.descriptors.file or core_files().file
        for proto in _imports_first(protos):
            pool.Add(proto)

        def message(name: str) -> type[Message]:
            descriptor: Descriptor = pool.FindMessageTypeByName(name)
            return message_factory.GetMessageClass(descriptor)

        name = declaration.name
        return cls(
            name=name,
            version=declaration.version,
            digest=declaration.declaration_digest,
            tasks={
                item.collection: TaskType(
                    name,
                    item.collection,
                    message(item.parameters_message),
                    message(item.result_message) if item.result_message else None,
                    item,
                )
                for item in declaration.task_types
            },
            contents={
                item.collection: ContentType(
                    name,
                    item.collection,
                    item.name,
                    message(item.attributes_message),
                    tuple(item.filterable_fields),
                )
                for item in declaration.content_types
            },
            kinds={
                collection: kind
                for collection, kind in _KINDS.items()
                if any(item.kind == kind for item in declaration.resource_types)
            },
            specs={
                item.kind: message(item.spec_message)
                for item in declaration.resource_types
                if item.spec_message
            },
            comments=read_comments(protos),
        )


@dataclass(frozen=True, slots=True)
class Catalog:
    """All plugins at one moment."""

    plugins: Mapping[str, Plugin]
    messages: Mapping[str, type[Message]] = field(repr=False)

    @classmethod
    def of(
        cls, declarations: Iterable[describe_pb2.DescribeResponse], previous: Catalog | None = None
    ) -> Catalog:
        """The catalog of these declarations; one that cannot be read is left out and logged.

        What the previous one has already read of the same digest is not read again.
        """
        plugins: dict[str, Plugin] = {}
        for declaration in declarations:
            known = previous.plugins.get(declaration.name) if previous else None
            if known and known.digest and known.digest == declaration.declaration_digest:
                plugins[known.name] = known
                continue
            try:
                plugins[declaration.name] = Plugin.of(declaration)
            except (KeyError, TypeError, ValueError) as error:
                log.warning("catalog.plugin_unreadable", plugin=declaration.name, error=str(error))
        return cls(dict(sorted(plugins.items())), _messages(plugins.values()))

    def spec(self, collection: str, plugin: str) -> type[Message] | None:
        """The plugin's own fields for the resources of a collection, such as "remotes"."""
        known = self.plugins.get(plugin)
        kind = _KINDS.get(collection)
        return known.specs.get(kind) if known and kind is not None else None

    def require(self, plugin: str) -> Plugin:
        """A plugin that was asked for by name.

        Raises:
            ServiceError: there is none; the error names those there are.

        """
        known = self.plugins.get(plugin)
        if known is None:
            there_are = ", ".join(self.plugins) or "none yet"
            raise not_found(
                "PLUGIN_UNKNOWN",
                f"There is no plugin {plugin}. There are: {there_are}.",
                plugin=plugin,
                plugins=", ".join(self.plugins),
            )
        return known

    def task_type(self, plugin: str, collection: str) -> TaskType:
        """A task type that was asked for by plugin and collection."""
        known = self.require(plugin)
        found = known.tasks.get(collection)
        if found is None:
            raise not_found(
                "TASK_TYPE_UNKNOWN",
                f"There is no task type {plugin}/{collection}. {_offer(plugin, known.tasks)}",
                task_type=f"{plugin}/{collection}",
                plugins=", ".join(self.plugins),
                collections=", ".join(known.tasks),
            )
        return found

    def content_type(self, plugin: str, collection: str) -> ContentType:
        """A content type that was asked for by plugin and collection."""
        known = self.require(plugin)
        found = known.contents.get(collection)
        if found is None:
            raise not_found(
                "RESOURCE_NOT_FOUND",
                f"There is no content {plugin}/{collection}. {_offer(plugin, known.contents)}",
                resource=f"content/{plugin}/{collection}",
                collections=", ".join(known.contents),
            )
        return found

    def has_fields_of(self, collection: str) -> bool:
        """Say whether resources of this collection may have fields of a plugin."""
        return collection in _KINDS

    def message_class(self, type_url: str) -> type[Message] | None:
        """The message that an Any of this type holds, if some plugin declares it."""
        return self.messages.get(type_url.rpartition("/")[2])


EMPTY = Catalog({}, {})


def _offer(plugin: str, collections: Iterable[str]) -> str:
    names = ", ".join(collections)
    return f"The plugin {plugin} has: {names}." if names else f"The plugin {plugin} has none."


def _imports_first(
    protos: Iterable[descriptor_pb2.FileDescriptorProto],
) -> Iterable[descriptor_pb2.FileDescriptorProto]:
    files = {proto.name: proto for proto in protos}
    sorter = TopologicalSorter({name: proto.dependency for name, proto in files.items()})
    try:
        return [files[name] for name in sorter.static_order() if name in files]
    except CycleError as error:
        raise ValueError(f"the proto files import each other: {error.args[1]}") from None


def _messages(plugins: Iterable[Plugin]) -> dict[str, type[Message]]:
    found: dict[str, type[Message]] = {}
    for plugin in plugins:
        classes: list[type[Message] | None] = [
            *(item.parameters for item in plugin.tasks.values()),
            *(item.result for item in plugin.tasks.values()),
            *(item.attributes for item in plugin.contents.values()),
            *plugin.specs.values(),
        ]
        for one in classes:
            if one is not None:
                # The first to declare a message has it; packages have the plugin's name in them.
                found.setdefault(one.DESCRIPTOR.full_name, one)
    return found
