"""Comments of proto files, by the full name of what they stand at: they are the documentation."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["core_files", "first_sentence", "read_comments"]

# By kind of node: which of its fields the next step of a path leads along.
_STEPS: dict[type, dict[int, str]] = {
    descriptor_pb2.FileDescriptorProto: {4: "message_type", 5: "enum_type", 6: "service"},
    descriptor_pb2.DescriptorProto: {2: "field", 3: "nested_type", 4: "enum_type"},
    descriptor_pb2.EnumDescriptorProto: {2: "value"},
    descriptor_pb2.ServiceDescriptorProto: {2: "method"},
}


@cache
def core_files() -> descriptor_pb2.FileDescriptorSet:
    """The proto files of Entrepot itself, with comments."""
    data = files("entrepot").joinpath("descriptors.binpb").read_bytes()
    return descriptor_pb2.FileDescriptorSet.FromString(data)


def read_comments(protos: Iterable[descriptor_pb2.FileDescriptorProto]) -> dict[str, str]:
    """The comment above each message, field, enum, value and so on, in paragraphs."""
    return {name: text for proto in protos for name, text in _of_file(proto)}


def first_sentence(text: str) -> str:
    """The first sentence of a comment, without its full stop."""
    return re.split(r"(?<=[.!?])\s", text.strip(), maxsplit=1)[0].rstrip(".")


def _of_file(proto: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, str]]:
    for location in proto.source_code_info.location:
        if location.leading_comments and (name := _name(proto, location.path)):
            yield name, _paragraphs(location.leading_comments)


def _name(proto: descriptor_pb2.FileDescriptorProto, path: Iterable[int]) -> str:
    """Full name of what a path leads to; empty if that has none."""
    node: Any = proto
    names = [proto.package] if proto.package else []
    steps = list(path)
    # A path of odd length ends at an option or a keyword of its node.
    if not steps or len(steps) % 2:
        return ""
    for number, index in zip(steps[::2], steps[1::2], strict=True):
        step = _STEPS.get(type(node), {}).get(number)
        if step is None:
            return ""
        node = getattr(node, step)[index]
        names.append(node.name)
    return ".".join(names)


def _paragraphs(text: str) -> str:
    blocks = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(" ".join(line.strip() for line in block.splitlines()) for block in blocks)
