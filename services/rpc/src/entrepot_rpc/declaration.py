"""The messages that plugins declare, built from the proto files they send.

Every plugin's files live in a pool of their own, so that no plugin can change what another's
message means. Knows no plugin by name, and nothing of what is declared besides messages.
"""

from __future__ import annotations

from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from google.protobuf import descriptor_pool, message_factory

from entrepot_rpc.comment import core_files, read_comments

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.message import Message

    from entrepot.plugin.v1 import describe_pb2

__all__ = ["DeclaredMessages", "by_name", "pool_of", "type_name"]


class DeclaredMessages:
    """The messages of one plugin. One that sends no proto files uses those of Entrepot.

    Raises:
        ValueError: the files do not fit together, or miss a message that is declared.
    """

    def __init__(self, declaration: describe_pb2.DescribeResponse) -> None:
        self._files = declaration.descriptors.file or core_files().file
        self._pool = pool_of(self._files)
        self._specs: dict[int, str] = {
            item.kind: item.spec_message
            for item in declaration.resource_types
            if item.spec_message
        }
        self._declared = tuple(dict.fromkeys(_declared(declaration)))
        for name in self._declared:
            if name not in self:
                raise ValueError(f"the message {name} is not in its proto files.")

    def __contains__(self, full_name: str) -> bool:
        """Whether the proto files have a message of this name."""
        try:
            self._pool.FindMessageTypeByName(full_name)
        except KeyError:
            return False
        return True

    def message(self, full_name: str) -> type[Message]:
        """The message of this name. KeyError if the proto files have none."""
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(full_name))

    def spec(self, kind: int) -> type[Message] | None:
        """The plugin's own fields for a kind of resource, if it has any."""
        name = self._specs.get(kind)
        return self.message(name) if name else None

    def declared(self) -> Iterator[type[Message]]:
        """The messages that the declaration names: those that an Any of the plugin's can hold."""
        return map(self.message, self._declared)

    @cached_property
    def comments(self) -> Mapping[str, str]:
        """The comments in the proto files, by the full name of what they stand at."""
        return read_comments(self._files)


def by_name(plugins: Iterable[DeclaredMessages]) -> dict[str, type[Message]]:
    """The declared messages of several plugins by full name."""
    found: dict[str, type[Message]] = {}
    for plugin in plugins:
        for message in plugin.declared():
            # The first to declare a message has it; packages have the plugin's name in them.
            found.setdefault(message.DESCRIPTOR.full_name, message)
    return found


def type_name(type_url: str) -> str:
    """The full name of the message at the end of the type URL of an Any."""
    return type_url.rpartition("/")[2]


def pool_of(files: Iterable[FileDescriptorProto]) -> descriptor_pool.DescriptorPool:
    """A pool of these proto files, whose order does not matter.

    Raises:
        ValueError: they do not fit together.
    """
    by_path = {file.name: file for file in files}
    # protoc writes imports first; other compilers may not.
    sorter = TopologicalSorter({path: file.dependency for path, file in by_path.items()})
    try:
        order = [by_path[path] for path in sorter.static_order() if path in by_path]
    except CycleError as error:
        names = ", ".join(error.args[1])
        raise ValueError(f"its proto files import each other: {names}.") from None
    pool = descriptor_pool.DescriptorPool()
    for file in order:
        try:
            pool.Add(file)
        except TypeError as error:
            raise ValueError(f"its proto file {file.name} is broken: {error}") from error
    return pool


def _declared(declaration: describe_pb2.DescribeResponse) -> Iterator[str]:
    for task in declaration.task_types:
        yield task.parameters_message
        if task.result_message:
            yield task.result_message
    for content in declaration.content_types:
        yield content.attributes_message
    for resource in declaration.resource_types:
        if resource.spec_message:
            yield resource.spec_message
