"""What the plugins have declared, as one immutable picture: task types, content types, messages.

Knows no plugin by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from entrepot.plugin.v1 import describe_pb2
from entrepot_gateway.problem import not_found
from entrepot_rpc.declaration import DeclaredMessages, by_name, type_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
    messages: DeclaredMessages = field(repr=False)

    @classmethod
    def of(cls, declaration: describe_pb2.DescribeResponse) -> Plugin:
        """The plugin that made this declaration.

        Raises:
            ValueError: its proto files do not have the messages that it names.

        """
        messages = DeclaredMessages(declaration)
        name = declaration.name
        return cls(
            name=name,
            version=declaration.version,
            digest=declaration.declaration_digest,
            tasks={
                item.collection: TaskType(
                    name,
                    item.collection,
                    messages.message(item.parameters_message),
                    messages.message(item.result_message) if item.result_message else None,
                    item,
                )
                for item in declaration.task_types
            },
            contents={
                item.collection: ContentType(
                    name,
                    item.collection,
                    item.name,
                    messages.message(item.attributes_message),
                    tuple(item.filterable_fields),
                )
                for item in declaration.content_types
            },
            kinds={
                collection: kind
                for collection, kind in _KINDS.items()
                if any(item.kind == kind for item in declaration.resource_types)
            },
            messages=messages,
        )

    @property
    def comments(self) -> Mapping[str, str]:
        """What its proto files say, by the full name of what it is about."""
        return self.messages.comments


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
            except ValueError as error:
                log.warning("catalog.plugin_unreadable", plugin=declaration.name, error=str(error))
        messages = by_name(plugin.messages for plugin in plugins.values())
        return cls(dict(sorted(plugins.items())), messages)

    def spec(self, collection: str, plugin: str) -> type[Message] | None:
        """The plugin's own fields for the resources of a collection, such as "remotes"."""
        known = self.plugins.get(plugin)
        kind = _KINDS.get(collection)
        return known.messages.spec(kind) if known and kind is not None else None

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
        return self.messages.get(type_name(type_url))


EMPTY = Catalog({}, {})


def _offer(plugin: str, collections: Iterable[str]) -> str:
    names = ", ".join(collections)
    return f"The plugin {plugin} has: {names}." if names else f"The plugin {plugin} has none."
