"""What the plugins of a server declare: task types, content types, resources, with documentation.

Kept on disk between commands, so that help and completion need no server.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from google.protobuf.message import Message

from entrepot.core.v1 import plugin_service_pb2
from entrepot.plugin.v1 import describe_pb2
from entrepot_cli.outcome import Failure, Status
from entrepot_cli.server.connection import Connection
from entrepot_cli.settings import Settings
from entrepot_rpc.declaration import DeclaredMessages, by_name, type_name

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
    """One plugin's declaration with its messages.

    Raises:
        ValueError: its proto files do not have them.
    """

    def __init__(self, declaration: describe_pb2.DescribeResponse) -> None:
        self.name = declaration.name
        self.declaration = declaration
        self.messages = DeclaredMessages(declaration)

    @property
    def comments(self) -> Mapping[str, str]:
        """Its documentation, by the full name of what it is about."""
        return self.messages.comments

    def spec(self, kind: int) -> type[Message] | None:
        """The plugin's own fields for a kind of resource, if it has any."""
        return self.messages.spec(kind)

    def task_types(self) -> Iterable[TaskType]:
        """Its task types, in its own order."""
        for one in self.declaration.task_types:
            parameters = self.messages.message(one.parameters_message)
            yield TaskType(f"{self.name}/{one.collection}", self.name, parameters, one)


class Declarations:
    """All plugins of a server, by name; without those that cannot be read."""

    def __init__(self, declarations: Iterable[describe_pb2.DescribeResponse]) -> None:
        self.plugins = {plugin.name: plugin for plugin in _readable(declarations)}

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
        wanted = type_name(type_url)
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

    def message_class(self, type_url: str) -> type[Message] | None:
        """The message that an Any of this type holds, if some plugin declares it."""
        return self._messages.get(type_name(type_url))

    @cached_property
    def _messages(self) -> dict[str, type[Message]]:
        return by_name(plugin.messages for plugin in self.plugins.values())


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


def unknown(
    what: str, name: str, known: Iterable[str], suggestion: str, *, inside: str = ""
) -> Failure:
    """The failure for a name that nothing has, with the nearest one and all there are."""
    from difflib import get_close_matches

    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    return Failure(
        f"There is no {what} {name}{inside}." + (f" Did you mean {near[0]}?" if near else ""),
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


def _readable(declarations: Iterable[describe_pb2.DescribeResponse]) -> Iterator[Plugin]:
    for one in declarations:
        # The server's log says what is wrong with the others.
        with suppress(ValueError):
            yield Plugin(one)
