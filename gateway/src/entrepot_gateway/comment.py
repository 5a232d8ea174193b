"""Comments of proto files, by the full name of what they stand at."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from google.protobuf import descriptor_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Numbers of the fields of FileDescriptorProto, DescriptorProto, and so on, along which paths run.
_FILE = {4: "message_type", 5: "enum_type", 6: "service"}
_MESSAGE = {2: "field", 3: "nested_type", 4: "enum_type"}
_ENUM = {2: "value"}
_SERVICE = {2: "method"}


@cache
def core_files() -> descriptor_pb2.FileDescriptorSet:
    """Core's own proto files, with comments."""
    data = files("entrepot").joinpath("descriptors.binpb").read_bytes()
    return descriptor_pb2.FileDescriptorSet.FromString(data)


def read_comments(protos: Iterable[descriptor_pb2.FileDescriptorProto]) -> dict[str, str]:
    """Leading comments as paragraphs, by the full name of what they stand at."""
    return {name: text for proto in protos for name, text in _of_file(proto) if text}


def first_sentence(text: str) -> str:
    """The first sentence of a comment, without what follows a full stop or a colon's list."""
    return re.split(r"(?<=[.!?])\s", text.strip(), maxsplit=1)[0]


def _of_file(proto: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, str]]:
    for location in proto.source_code_info.location:
        if location.leading_comments:
            name = _name(proto, location.path)
            if name:
                yield name, _paragraphs(location.leading_comments)


def _name(proto: descriptor_pb2.FileDescriptorProto, path: Iterable[int]) -> str:
    names = [proto.package] if proto.package else []
    node: object = proto
    steps = list(path)
    for number, index in zip(steps[::2], steps[1::2], strict=False):
        table = _TABLES.get(type(node), {})
        if number not in table:
            return ""
        node = getattr(node, table[number])[index]
        names.append(node.name)  # type: ignore[attr-defined]
    # A path of odd length ends at an option or a keyword of its node.
    return ".".join(names) if steps and len(steps) % 2 == 0 else ""


_TABLES: dict[type, dict[int, str]] = {
    descriptor_pb2.FileDescriptorProto: _FILE,
    descriptor_pb2.DescriptorProto: _MESSAGE,
    descriptor_pb2.EnumDescriptorProto: _ENUM,
    descriptor_pb2.ServiceDescriptorProto: _SERVICE,
}


def _paragraphs(text: str) -> str:
    blocks = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(" ".join(line.strip() for line in block.splitlines()) for block in blocks)
