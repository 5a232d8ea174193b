"""Comments of proto files, by the full name of what they stand at: they are the documentation."""

import re
from collections.abc import Iterable, Iterator
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2

# By kind of node: which of its fields the next step of a path is about.
_STEPS: dict[str, dict[int, str]] = {
    "FileDescriptorProto": {4: "message_type", 5: "enum_type", 6: "service"},
    "DescriptorProto": {2: "field", 3: "nested_type", 4: "enum_type"},
    "EnumDescriptorProto": {2: "value"},
    "ServiceDescriptorProto": {2: "method"},
}


def own_files() -> descriptor_pb2.FileDescriptorSet:
    """The proto files of Entrepot itself, with comments."""
    data = files("entrepot").joinpath("descriptors.binpb").read_bytes()
    return descriptor_pb2.FileDescriptorSet.FromString(data)


def read_comments(protos: Iterable[descriptor_pb2.FileDescriptorProto]) -> dict[str, str]:
    """The comment above each message, field, enum, value and so on, a line for a paragraph."""
    return {name: text for proto in protos for name, text in _of_file(proto)}


def first_sentence(text: str) -> str:
    """The first sentence of a comment, without its full stop."""
    return re.split(r"(?<=[.!?])\s", text.strip(), maxsplit=1)[0].rstrip(".")


def _of_file(proto: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, str]]:
    for location in proto.source_code_info.location:
        name = _name(proto, location.path) if location.leading_comments else ""
        if name:
            blocks = re.split(r"\n\s*\n", location.leading_comments.strip())
            yield name, "\n".join(" ".join(block.split()) for block in blocks)


def _name(proto: descriptor_pb2.FileDescriptorProto, path: Iterable[int]) -> str:
    node: Any = proto
    names = [proto.package]
    numbers = list(path)
    if len(numbers) % 2:
        return ""
    for number, index in zip(numbers[::2], numbers[1::2], strict=True):
        step = _STEPS.get(type(node).__name__, {}).get(number)
        if step is None:
            return ""
        node = getattr(node, step)[index]
        names.append(node.name)
    return ".".join(filter(None, names)) if numbers else ""
