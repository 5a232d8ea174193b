"""What the plugins of a server declare: task types, content types, resources, with documentation.

Kept on disk between commands, so that help and completion need no server.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from entrepot.core.v1 import plugin_service_pb2
from entrepot.plugin.v1 import describe_pb2
from entrepot_cli.outcome import Failure, Status
from entrepot_cli.server.comment import own_files, read_comments
from entrepot_cli.server.connection import Connection
from entrepot_cli.settings import Settings

SERVICE = plugin_service_pb2.DESCRIPTOR.services_by_name["PluginService"]
# Long enough for a busy machine, short enough for somebody who waits for help.
WATCH_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class TaskType:
    """A task type with the message of its parameters."""

    name: str
    plugin: str
    parameters: type[Message]
    declaration: describe_pb2.TaskType


class Plugin:
    """One plugin's declaration with its messages, in a pool that no other plugin shares."""

    def __init__(self, declaration: describe_pb2.DescribeResponse) -> None:
        self.name = declaration.name
        self.declaration = declaration
        protos = declaration.descriptors.file or own_files().file
        self._pool = DescriptorPool()
        for proto in _imports_first(protos):
            self._pool.Add(proto)
        self.comments: Mapping[str, str] = read_comments(protos)

    def message(self, name: str) -> type[Message] | None:
        """The message of this full name, if the plugin has it."""
        try:
            descriptor: Descriptor = self._pool.FindMessageTypeByName(name)
        except KeyError:
            return None
        return GetMessageClass(descriptor)

    def spec(self, kind: int) -> type[Message] | None:
        """The plugin's own fields for a kind of resource, if it has any."""
        for one in self.declaration.resource_types:
            if one.kind == kind and one.spec_message:
                return self.message(one.spec_message)
        return None

    def task_types(self) -> Iterable[TaskType]:
        """Its task types, in its own order."""
        for one in self.declaration.task_types:
            parameters = self.message(one.parameters_message)
            if parameters is not None:
                yield TaskType(f"{self.name}/{one.collection}", self.name, parameters, one)


class Declarations:
    """All plugins of a server, by name."""

    def __init__(self, declarations: Iterable[describe_pb2.DescribeResponse]) -> None:
        self.plugins = {one.name: Plugin(one) for one in declarations}

    def task_types(self) -> dict[str, TaskType]:
        """Every task type by name."""
        return {one.name: one for plugin in self.plugins.values() for one in plugin.task_types()}

    def task_type(self, name: str) -> TaskType:
        """The task type of this name.

        Raises:
            Failure: there is none; the failure says what there is.
        """
        known = self.task_types()
        if name not in known:
            raise unknown("task type", name, known, "entrepot explain")
        return known[name]

    def task_type_of(self, type_url: str) -> str:
        """The name of the task type with these parameters; empty if no plugin has it."""
        wanted = type_url.rpartition("/")[2]
        for one in self.task_types().values():
            if one.declaration.parameters_message == wanted:
                return one.name
        return ""

    def plugin(self, name: str) -> Plugin:
        """The plugin of this name.

        Raises:
            Failure: there is none; the failure says what there is.
        """
        if name not in self.plugins:
            raise unknown("plugin", name, self.plugins, "entrepot plugin list")
        return self.plugins[name]

    def message(self, type_url: str) -> type[Message] | None:
        """The message that an Any of this type holds, if a plugin has it."""
        name = type_url.rpartition("/")[2]
        for plugin in self.plugins.values():
            if (found := plugin.message(name)) is not None:
                return found
        return None


def load(connection: Connection) -> Declarations:
    """Ask the server what its plugins declare, and keep the answer."""
    import grpc

    request = plugin_service_pb2.WatchPluginsRequest()
    stream = connection.stream(SERVICE, "WatchPlugins", request, seconds=WATCH_SECONDS)
    try:
        response = next(stream)
    except grpc.RpcError as error:
        from entrepot_cli.server.failure import failure_of

        raise failure_of(error, connection.settings) from None
    stream.cancel()
    _keep(response, connection.settings)
    connection.declarations = Declarations(response.declarations)
    return connection.declarations


def load_kept(settings: Settings) -> Declarations | None:
    """What the server said last time; None if it was never asked."""
    try:
        data = _path(settings).read_bytes()
    except OSError:
        return None
    return Declarations(plugin_service_pb2.WatchPluginsResponse.FromString(data).declarations)


def unknown(what: str, name: str, known: Iterable[str], suggestion: str) -> Failure:
    """The failure for a name that nothing has, with the nearest one and all there are."""
    from difflib import get_close_matches

    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    return Failure(
        f"There is no {what} {name}." + (f" Did you mean {near[0]}?" if near else ""),
        status=Status.NOT_FOUND,
        details=(f"There are: {', '.join(names) or 'none'}.",),
        suggestion=suggestion,
    )


def _keep(response: plugin_service_pb2.WatchPluginsResponse, settings: Settings) -> None:
    path = _path(settings)
    data = response.SerializeToString(deterministic=True)
    try:
        if path.exists() and path.read_bytes() == data:
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_bytes(data)
        unfinished.replace(path)
    except OSError:
        # Only for speed; a folder that cannot be written to is no reason to stop.
        return


def _path(settings: Settings) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    server = hashlib.sha256(settings.grpc.encode()).hexdigest()[:16]
    return cache / "entrepot" / f"{server}.binpb"


def _imports_first(
    protos: Iterable[descriptor_pb2.FileDescriptorProto],
) -> Iterable[descriptor_pb2.FileDescriptorProto]:
    by_name = {proto.name: proto for proto in protos}
    order = TopologicalSorter({name: proto.dependency for name, proto in by_name.items()})
    return [by_name[name] for name in order.static_order() if name in by_name]
