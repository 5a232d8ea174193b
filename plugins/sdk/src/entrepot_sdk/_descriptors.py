"""The proto files a plugin ships: those that define its messages, and what they import."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from entrepot_sdk.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from google.protobuf.message import Message

__all__ = ["closed_set", "load"]


def load(path: Path | None) -> FileDescriptorSet:
    """The descriptor set in a file; None: the one that comes with Entrepot's own protos."""
    source = files("entrepot") / "descriptors.binpb" if path is None else path
    return FileDescriptorSet.FromString(source.read_bytes())


def closed_set(messages: Iterable[type[Message]], known: FileDescriptorSet) -> FileDescriptorSet:
    """The files that define the messages, after those they import; Google's without comments."""
    by_name = {file.name: file for file in known.file}
    chosen: dict[str, FileDescriptorProto] = {}

    def choose(name: str) -> None:
        if name in chosen:
            return
        if name not in by_name:
            raise DeclarationError(f"{name} is not in the plugin's descriptors")
        for dependency in by_name[name].dependency:
            choose(dependency)
        chosen[name] = _without_foreign_comments(by_name[name])

    for message in messages:
        choose(message.DESCRIPTOR.file.name)
    return FileDescriptorSet(file=chosen.values())


def _without_foreign_comments(file: FileDescriptorProto) -> FileDescriptorProto:
    if not file.package.startswith("google."):
        return file
    copy = FileDescriptorProto()
    copy.CopyFrom(file)
    copy.ClearField("source_code_info")
    return copy
