"""What a plugin declares: its kinds of content, its task types, its guides."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from google.protobuf.message import Message

from entrepot.plugin.v1 import describe_pb2
from entrepot_sdk.errors import DeclarationError
from entrepot_sdk.resource import ResourceKind, Resources
from entrepot_sdk.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import timedelta
    from pathlib import Path

    from entrepot.type.v1.diagnostic_pb2 import Diagnostic

__all__ = ["ContentType", "CoreWork", "Guide", "Index", "Plugin", "ResourceType", "TaskType"]

P = TypeVar("P", bound=Message)

Run = Callable[[P, Workspace], Coroutine[Any, Any, Message | None]]
Validate = Callable[[P, Resources], "Iterable[Diagnostic]"]

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Index:
    """A text file that core generates for every version, one line per artifact, in order of path.

    Args:
        path: Where it is served below the distribution.
        line: Template in which {path}, {sha256} and {size_bytes} are replaced.
    """

    path: str
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentType:
    """A kind of unit.

    Args:
        name: With the plugin's name in front: "file.file".
        collection: Plural noun, its name in REST: "files".
        message: The generated class of its attributes.
        key: Fields that identify a unit everywhere.
        repository_key: Fields of which one version holds at most one unit; none: no such rule.
        filterable: Fields that lists can be filtered by; scalars only.
        indexes: Files core generates from units of this type.
    """

    name: str
    collection: str
    message: type[Message]
    key: Sequence[str]
    repository_key: Sequence[str] = ()
    filterable: Sequence[str] = ()
    indexes: Sequence[Index] = ()


class CoreWork(enum.Enum):
    """Tasks core can do alone, by the edges and keys a plugin declares."""

    ADD = describe_pb2.TaskType.IMPLEMENTATION_CORE_ADD
    REMOVE = describe_pb2.TaskType.IMPLEMENTATION_CORE_REMOVE
    COPY = describe_pb2.TaskType.IMPLEMENTATION_CORE_COPY


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskType(Generic[P]):
    """A kind of task.

    Args:
        collection: Plural noun, its name in REST: "syncs".
        parameters: The generated class of its parameters; one class, one task type.
        run: The work: an async function of parameters and workspace, that returns the result.
        core: Or: who needs no function, because core does the work.
        result: The generated class of the result, if there is one.
        validate: Yields what is wrong with parameters, before a task is stored. Quick, without
            network; it may fill in defaults, and change nothing else.
        creates: What the task makes.
        repeatable: False if it reaches outside, so that doing it twice is not like doing it once.
        timeout: Longest time; unset: 6 hours.
    """

    collection: str
    parameters: type[P]
    run: Run[P] | None = None
    core: CoreWork | None = None
    result: type[Message] | None = None
    validate: Validate[P] | None = None
    creates: ResourceKind | None = ResourceKind.REPOSITORY_VERSION
    repeatable: bool = True
    timeout: timedelta | None = None


@dataclass(frozen=True, slots=True)
class ResourceType:
    """A kind of repository, remote, publication or distribution.

    Args:
        kind: What it is.
        spec: The generated class of the plugin's own fields, if it has any.
    """

    kind: ResourceKind
    spec: type[Message] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """How people use a distribution with one program.

    Args:
        client: The program they type: "curl".
        title: "Download one file with curl"
        template: Shell text in which {content_url} (which ends in a slash), {base_path} and {path}
            are replaced.
        check: Shell text that succeeds if the guide has worked.
    """

    client: str
    title: str
    template: str
    check: str


_USUAL_RESOURCES = (
    ResourceType(ResourceKind.REPOSITORY),
    ResourceType(ResourceKind.REMOTE),
    ResourceType(ResourceKind.DISTRIBUTION),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """All that makes a plugin; give it to `serve`.

    Args:
        name: Lowercase letters, digits and underscores; the namespace of its types.
        version: Such as "0.1.0".
        content_types: The kinds of content it knows.
        task_types: The tasks it offers.
        resource_types: Unless it offers repositories, remotes and distributions without fields of
            their own.
        guides: How people use its distributions.
        descriptors: The output of `protoc --include_imports --include_source_info` over its
            protos; unset: the file that comes with Entrepot's own.
        max_concurrent_attempts: How many tasks one process works on at once.
    """

    name: str
    version: str
    content_types: Sequence[ContentType] = ()
    task_types: Sequence[TaskType[Any]] = ()
    resource_types: Sequence[ResourceType] = _USUAL_RESOURCES
    guides: Sequence[Guide] = ()
    descriptors: Path | None = None
    max_concurrent_attempts: int = 8
    _tasks: dict[str, TaskType[Any]] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise DeclarationError(f"the name of a plugin is {_NAME.pattern}, not {self.name!r}")
        for task_type in self.task_types:
            self._check_task_type(task_type)
            self._tasks[f"{self.name}/{task_type.collection}"] = task_type
        for content_type in self.content_types:
            self._check_content_type(content_type)

    def task_type(self, name: str) -> TaskType[Any] | None:
        """The task type with a name such as "file/syncs", if there is one."""
        return self._tasks.get(name)

    def _check_task_type(self, task_type: TaskType[Any]) -> None:
        name = f"{self.name}/{task_type.collection}"
        if (task_type.run is None) == (task_type.core is None):
            raise DeclarationError(f"{name} needs either run or core")
        for other in self._tasks.values():
            if other.collection == task_type.collection:
                raise DeclarationError(f"{name} is declared twice")
            if other.parameters is task_type.parameters:
                raise DeclarationError(f"{name} shares its parameters with {other.collection}")

    def _check_content_type(self, content_type: ContentType) -> None:
        if not content_type.name.startswith(f"{self.name}."):
            raise DeclarationError(f"{content_type.name} must start with {self.name}.")
        if not content_type.key:
            raise DeclarationError(f"{content_type.name} has no key")
        known = content_type.message.DESCRIPTOR.fields_by_name
        named = (*content_type.key, *content_type.repository_key, *content_type.filterable)
        for name in named:
            if name not in known:
                raise DeclarationError(f"{content_type.name} has no field {name}")
