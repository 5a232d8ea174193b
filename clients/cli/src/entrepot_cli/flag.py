"""Flags made from the fields of a message: what there is, the descriptor alone says."""

import argparse
import base64
import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from entrepot.plugin.v1 import describe_pb2
from entrepot_cli.arguments import Parser
from entrepot_cli.duration import nanos
from entrepot_cli.outcome import Failure, Status
from entrepot_cli.server.name import full_name, version_name
from entrepot_cli.server.reference import COLLECTIONS, reference_kind
from entrepot_rpc.comment import first_sentence
from entrepot_rpc.field import (
    DURATION,
    TIMESTAMP,
    aliases,
    descriptor_of,
    enum_choices,
    enum_numbers,
    enum_of,
    enum_words,
    is_file_content,
    is_map,
    is_required,
    message_name,
)

_WITHOUT_PLUGIN = ("content", "uploads")
_INTEGERS = (
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
)
_FLOATS = (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE)
# Fields that people say in the singular, once for each.
_SINGULAR = {"headers": "header", "labels": "label"}


def add_flags(
    parser: Parser,
    fields: Iterable[FieldDescriptor],
    comments: Mapping[str, str],
    *,
    title: str,
    enforce: bool = True,
) -> None:
    """Give the parser a flag for each field; required ones are enforced unless it is an update."""
    group = parser.add_argument_group(title)
    file_content = _FileContent()
    for field in fields:
        text = first_sentence(comments.get(field.full_name, "")).replace("%", "%%")
        group.add_argument(
            *_spellings(field),
            dest=_destination(field),
            help=f"{text} (required)" if enforce and is_required(field) else text,
            required=enforce and is_required(field),
            default=None,
            **_kind(field, file_content),
        )
        if is_file_content(field):
            # What people try first is told, without the value, which may be a secret.
            group.add_argument(_flag(field), help=argparse.SUPPRESS, type=_refuse(field))


def fill(message: Message, options: Namespace, plugin: str = "") -> list[str]:
    """Set the fields whose flags were given, and return their names.

    Raises:
        Failure: a value does not fit its field; the failure names the flag.
    """
    given = []
    for field in descriptor_of(message).fields:
        value = getattr(options, _destination(field), None)
        if value is None:
            continue
        try:
            _set(message, field, value, plugin)
        except (ValueError, TypeError, json_format.ParseError) as error:
            raise Failure(f"{_spellings(field)[0]}: {error}", status=Status.USAGE) from None
        given.append(field.name)
    return given


def flag_names(fields: Iterable[FieldDescriptor]) -> list[str]:
    """Every spelling of the flags of these fields, for completion."""
    return [spelling for field in fields for spelling in _spellings(field)]


def _spellings(field: FieldDescriptor) -> list[str]:
    names = [_flag(field), *(f"--{name.replace('_', '-')}" for name in aliases(field))]
    # Everybody on the machine can read a command line, so secrets do not stand on it.
    end = "-file" if is_file_content(field) else ""
    return [f"{name}{end}" for name in names]


def _flag(field: FieldDescriptor) -> str:
    return f"--{_SINGULAR.get(field.name, field.name).replace('_', '-')}"


def _refuse(field: FieldDescriptor) -> Callable[[str], str]:
    def refuse(_value: str) -> str:
        raise argparse.ArgumentTypeError(f"give it in a file: {_spellings(field)[0]} FILE")

    return refuse


def _destination(field: FieldDescriptor) -> str:
    return f"field:{field.name}"


def _kind(field: FieldDescriptor, file_content: "_FileContent") -> dict[str, Any]:
    if is_map(field) and is_file_content(field):
        return {"action": "append", "metavar": "KEY=FILE", "type": file_content.pair}
    if is_file_content(field):
        return {"metavar": "FILE", "type": file_content}
    if is_map(field):
        return {"action": "append", "metavar": "KEY=VALUE", "type": _pair}
    if field.is_repeated:
        # Both `--content a b` and `--content a --content b`.
        return {"action": "extend", "nargs": "+", **_single(field)}
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return {"action": argparse.BooleanOptionalAction}
    return _single(field)


def _single(field: FieldDescriptor) -> dict[str, Any]:
    if reference_kind(field) == describe_pb2.RESOURCE_KIND_REPOSITORY_VERSION:
        return {"metavar": "VERSION"}
    if collection := COLLECTIONS.get(reference_kind(field)):
        noun = {"repositories": "repository", "content": "unit"}.get(collection)
        return {"metavar": (noun or collection.removesuffix("s")).upper()}
    if field.enum_type is not None:
        return {"choices": list(enum_choices(field.enum_type)), "type": _word_of(field)}
    if message_name(field) == DURATION:
        return {"metavar": "DURATION", "type": nanos}
    if message_name(field) == TIMESTAMP:
        return {"metavar": "TIME"}
    if field.message_type is not None:
        return {"metavar": "JSON"}
    if field.cpp_type in _INTEGERS:
        return {"metavar": "N", "type": _integer}
    if field.cpp_type in _FLOATS:
        return {"metavar": "N", "type": float}
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return {"metavar": "yes|no", "type": _yes_or_no}
    return {"metavar": "TEXT"}


def _set(message: Message, field: FieldDescriptor, value: Any, plugin: str) -> None:  # noqa: ANN401
    convert = _converter(field, plugin)
    if is_map(field):
        getattr(message, field.name).update(dict(value))
    elif field.message_type is not None:
        for one in value if field.is_repeated else [value]:
            target = getattr(message, field.name)
            _parse(target.add() if field.is_repeated else target, one)
    elif field.is_repeated:
        getattr(message, field.name).extend([convert(one) for one in value])
    else:
        setattr(message, field.name, convert(value))


def _converter(field: FieldDescriptor, plugin: str) -> Callable[[Any], Any]:
    kind = reference_kind(field)
    if kind == describe_pb2.RESOURCE_KIND_REPOSITORY_VERSION:
        return lambda text: _version_or_repository(text, plugin)
    if collection := COLLECTIONS.get(kind):
        within = "" if collection in _WITHOUT_PLUGIN else plugin
        return lambda text: full_name(text, collection, within)
    if field.enum_type is not None:
        numbers = enum_numbers(field.enum_type)
        return lambda word: numbers[word]
    if field.type == FieldDescriptor.TYPE_BYTES:
        return lambda text: base64.b64decode(text, validate=True)
    return lambda value: value


def _version_or_repository(text: str, plugin: str) -> str:
    if "@" in text or "/versions/" in text:
        return version_name(text, plugin)
    return full_name(text, "repositories", plugin)


def _parse(target: Any, value: Any) -> None:  # noqa: ANN401
    # Zero is a length as well.
    target.SetInParent()
    match target.DESCRIPTOR.full_name:
        case name if name == DURATION:
            target.FromNanoseconds(value)
        case name if name == TIMESTAMP:
            target.FromJsonString(value)
        case _:
            json_format.ParseDict(json.loads(value), target)


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _word_of(field: FieldDescriptor) -> Callable[[str], str]:
    """What reads an enum value in any spelling that REST understands too."""
    numbers, words = enum_numbers(enum_of(field)), enum_words(enum_of(field))

    def word(text: str) -> str:
        number = numbers.get(text.strip().lower())
        return text if number is None else words[number]

    return word


def _yes_or_no(text: str) -> bool:
    words = {"yes": True, "true": True, "no": False, "false": False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f"{text!r} is neither yes nor no")
    return words[text.lower()]


class _FileContent:
    """Reads the file that a flag names; "-" is standard input, which only one flag can have."""

    def __init__(self) -> None:
        self._has_read_input = False

    def __call__(self, name: str) -> str:
        """The text, without the line break at its end."""
        if name == "-" and self._has_read_input:
            raise argparse.ArgumentTypeError("only one flag can read standard input")
        try:
            if name == "-":
                self._has_read_input = True
                text = sys.stdin.read()
            else:
                text = Path(name).read_text(encoding="utf-8")
        except OSError as error:
            raise argparse.ArgumentTypeError(f"cannot read {name}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise argparse.ArgumentTypeError(f"{name} is not text in UTF-8") from None
        return text.removesuffix("\n").removesuffix("\r")

    def pair(self, text: str) -> tuple[str, str]:
        """A key and the text of a file, from KEY=FILE."""
        key, name = _pair(text)
        return key, self(name)


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value
