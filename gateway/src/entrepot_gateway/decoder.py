"""JSON, forms and queries into messages: the other direction of `encoder`, strict and helpful.

Everything that is wrong is found in one pass and named by a JSON pointer; an unknown field comes
with the nearest known one. Aliases of fields are understood, and whatever the server itself sets
(`href`, output-only fields) is accepted and ignored, so that what was read can be sent back.
"""

# ruff: noqa: ANN401  values of JSON and fields of messages are of any type

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

from entrepot_gateway.body import MAX_DEPTH, Members, Pairs, Words, nest
from entrepot_gateway.problem import InputRefusedError
from entrepot_rpc.address import PREFIX
from entrepot_rpc.duration import parse_nanos
from entrepot_rpc.field import (
    ANY,
    DURATION,
    FIELD_MASK,
    TIMESTAMP,
    descriptor_of,
    enum_choices,
    enum_numbers,
    enum_of,
    is_map,
    is_output_only,
    is_reference,
    is_required,
    message_name,
    message_of,
    names,
    spec_field,
)
from entrepot_rpc.problem import InputError, escape, unescape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from google.protobuf.any_pb2 import Any as AnyMessage
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.message import Message

_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_SHORT = (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_UINT32)
_FLOATS = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)
_NUMBERS = frozenset({*_INTEGERS, *_FLOATS, FieldDescriptor.CPPTYPE_BOOL})
# As many digits as a number in JSON may have.
_WHOLE = re.compile(r"[+-]?[0-9]{1,100}")
# google.protobuf.Duration: about 10,000 years.
_LONGEST = 315_576_000_000 * 10**9
_EXACT = 2**53
# How much of a wrong value is shown.
SHOWN = 60
# Fields of core's own messages that name a resource.
_CORE_REFERENCES = frozenset(
    {"name", "parent", "repository", "version", "publication", "resource", "cloned_from"}
    | {"created_resource", "commits"}
)


@dataclass(slots=True)
class Decoder:
    """Reads one request; `errors` has what is wrong with it so far."""

    # Scheme and host of this API, which may stand before an href.
    origin: str = ""
    # "query" or "path" if it is not the body that is read.
    where: str = ""
    # The message that a type URL stands for.
    resolve: Callable[[str], type[Message] | None] = lambda _url: None
    errors: list[InputError] = field(default_factory=list)

    def finish(self) -> None:
        """Refuse the request if anything was wrong."""
        if self.errors:
            raise InputRefusedError(self.errors)

    def message(
        self,
        document: dict[str, Any],
        target: Message,
        *,
        pointer: str = "#",
        spec: Message | None = None,
        given: Iterable[str] = (),
        partial: bool = False,
    ) -> list[str]:
        """Fill a message; the fields that were named come back, those of `spec` among them.

        Args:
            document: what was sent.
            target: the message to fill.
            pointer: where the document stands.
            spec: the plugin's own fields of the resource, flat beside the others.
            given: fields that are set by other means, such as the path.
            partial: an update, in which nothing is required.

        """
        descriptor = descriptor_of(target)
        known = names(descriptor)
        seen: dict[str, str] = {}
        flat = Members()
        given = frozenset(given)
        hidden = spec_field(descriptor)
        for key in document.repeated if isinstance(document, Members) else ():
            self.wrong(f"{pointer}/{escape(key)}", "FIELD_REPEATED", f"{key} is given twice.")
        for key, value in document.items():
            here = f"{pointer}/{escape(key)}"
            found = known.get(key)
            if found is None or found is hidden:
                self._unknown(key, value, here, descriptor, spec, flat, given)
            elif is_output_only(found) or found.name in given:
                continue
            elif found.name in seen:
                self.wrong(here, "FIELD_REPEATED", f"{key} and {seen[found.name]} are the same.")
            else:
                seen[found.name] = key
                if value is not None:
                    self._field(found, value, target, here)
        if not partial:
            self._require(target, pointer, given, seen)
        named = list(seen)
        if spec is not None and hidden is not None:
            extra = self.message(flat, spec, pointer=pointer, partial=partial)
            if extra:
                cast("AnyMessage", target.spec).Pack(spec, deterministic=True)  # type: ignore[attr-defined]
            named += extra
        return named

    def _unknown(
        self,
        key: str,
        value: object,
        here: str,
        descriptor: Descriptor,
        spec: Message | None,
        flat: dict[str, Any],
        given: frozenset[str],
    ) -> None:
        inner = names(descriptor_of(spec)) if spec is not None else {}
        if key in inner:
            flat[key] = value
        elif key == "href" and "name" in descriptor.fields_by_name:
            pass
        else:
            hidden = spec_field(descriptor)
            candidates = [*names(descriptor), *inner]
            near = get_close_matches(key, [name for name in candidates if name != "spec"], n=1)
            hint = (
                f" Did you mean {near[0]}?" if near else _offer(descriptor, inner, hidden, given)
            )
            self.wrong(here, "FIELD_UNKNOWN", f"There is no field {key}.{hint}")

    def _require(
        self, target: Message, pointer: str, given: frozenset[str], seen: dict[str, str]
    ) -> None:
        wrong = {error.pointer for error in self.errors}
        for item in descriptor_of(target).fields:
            if not is_required(item) or item.name in given:
                continue
            here = f"{pointer}/{seen.get(item.name, item.name)}"
            is_number = not item.is_repeated and item.cpp_type in _NUMBERS
            is_there = item.name in seen if is_number else _has(item, target)
            if not is_there and not any(f"{one}/".startswith(f"{here}/") for one in wrong):
                self.wrong(here, "FIELD_REQUIRED", f"{item.name} is required.")

    def _field(self, item: FieldDescriptor, value: Any, target: Message, here: str) -> None:
        if here.count("/") > MAX_DEPTH:
            self.wrong(
                here, "FIELD_INVALID", f"{_at(here)} is nested deeper than {MAX_DEPTH} levels."
            )
        elif is_map(item):
            self._map(item, value, getattr(target, item.name), here)
        elif item.is_repeated:
            self._list(item, value, getattr(target, item.name), here)
        elif item.message_type is not None:
            self._embedded(item, value, getattr(target, item.name), here)
        else:
            scalar = self._scalar(item, value, here)
            if scalar is not None:
                setattr(target, item.name, scalar)

    def _list(self, item: FieldDescriptor, value: Any, target: Any, here: str) -> None:
        if not isinstance(value, list) or isinstance(value, Pairs):
            self.wrong(here, "FIELD_TYPE", f"{_at(here)} must be a list, not {_kind(value)}.")
            return
        for index, one in enumerate(value):
            one = Words([one]) if isinstance(value, Words) else one  # noqa: PLW2901
            there = f"{here}/{index}"
            if item.message_type is not None:
                self._embedded(item, one, target.add(), there)
            else:
                scalar = self._scalar(item, one, there)
                if scalar is not None:
                    target.append(scalar)

    def _map(self, item: FieldDescriptor, value: Any, target: Any, here: str) -> None:
        if isinstance(value, Pairs):
            value = {key: Words([text]) for key, text in value}
        if not isinstance(value, dict):
            self.wrong(here, "FIELD_TYPE", f"{_at(here)} must be an object, not {_kind(value)}.")
            return
        for key in value.repeated if isinstance(value, Members) else ():
            self.wrong(f"{here}/{escape(key)}", "FIELD_REPEATED", f"{key} is given twice.")
        key_field, value_field = (message_of(item).fields_by_name[n] for n in ("key", "value"))
        for name, one in value.items():
            there = f"{here}/{escape(name)}"
            key = self._scalar(key_field, Words([name]), there)
            if key is None:
                continue
            if value_field.message_type is not None:
                self._embedded(value_field, one, target[key], there)
            else:
                scalar = self._scalar(value_field, one, there)
                if scalar is not None:
                    target[key] = scalar

    def _embedded(self, item: FieldDescriptor, value: Any, target: Any, here: str) -> None:
        name = message_name(item)
        if isinstance(value, Pairs):
            value = nest(value)
        if name in (TIMESTAMP, DURATION, FIELD_MASK):
            self._text_form(name, value, target, here, item)
        elif name == ANY:
            self._any(value, target, here)
        elif name.startswith("google.protobuf."):
            self._well_known(value, target, here)
        elif not isinstance(value, dict):
            self.wrong(here, "FIELD_TYPE", f"{_at(here)} must be an object, not {_kind(value)}.")
        else:
            target.SetInParent()
            self.message(value, target, pointer=here)

    def _text_form(
        self, name: str, value: Any, target: Any, here: str, item: FieldDescriptor
    ) -> None:
        text = value[-1] if isinstance(value, Words) else value
        if name == DURATION and isinstance(text, int | float) and not isinstance(text, bool):
            text = str(text)
        if not isinstance(text, str):
            self.wrong(here, "FIELD_TYPE", f"{_at(here)} must be text, not {_kind(value)}.")
            return
        try:
            if name == DURATION:
                nanos = parse_nanos(text)
                if _is_limited(item):
                    nanos = min(nanos, _LONGEST)
                cast("Duration", target).FromNanoseconds(nanos)
            else:
                target.FromJsonString(text)
        except (ValueError, OverflowError) as error:
            example = "" if name == DURATION else " Write it as 2026-01-31T12:00:00Z."
            hint = example if name == TIMESTAMP else ""
            self.wrong(here, "FIELD_INVALID", f"{_at(here)}: {str(error).rstrip('.')}.{hint}")

    def _any(self, value: Any, target: AnyMessage, here: str) -> None:
        url = value.get("@type") if isinstance(value, dict) else None
        if not isinstance(url, str) or not url:
            self.wrong(here, "FIELD_TYPE", f'{_at(here)} must be an object with "@type".')
            return
        url = url if "/" in url else f"type.googleapis.com/{url}"
        known = self.resolve(url)
        if known is None:
            self.wrong(f"{here}/@type", "FIELD_INVALID", f"No plugin declares {url}.")
            return
        inner = known()
        rest = Members({key: item for key, item in value.items() if key != "@type"})
        rest.repeated = getattr(value, "repeated", ())
        self.message(rest, inner, pointer=here)
        target.Pack(inner, deterministic=True)

    def _well_known(self, value: Any, target: Message, here: str) -> None:
        try:
            plain: Any = value[-1] if isinstance(value, Words) else value
            json_format.ParseDict(plain, target)
        except json_format.ParseError as error:
            self.wrong(here, "FIELD_INVALID", f"{_at(here)}: {error}.")

    def _scalar(self, item: FieldDescriptor, value: Any, here: str) -> Any:
        """The value of a scalar; None if it is wrong, which is noted."""
        if isinstance(value, Words):
            if len(value) != 1:
                return self._refuse(here, "FIELD_REPEATED", f"{item.name} is given twice.")
            return self._from_word(item, value[0], here)
        if item.enum_type is not None:
            return self._enum(item, value, here)
        if item.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            if isinstance(value, bool):
                return value
            return self._refuse(
                here, "FIELD_TYPE", f"{_at(here)} must be true or false, not {_kind(value)}."
            )
        if item.cpp_type in _INTEGERS:
            return self._integer(item, value, here)
        if item.cpp_type in _FLOATS:
            return self._float(value, here)
        if not isinstance(value, str):
            return self._refuse(
                here, "FIELD_TYPE", f"{_at(here)} must be text, not {_kind(value)}."
            )
        if item.type == FieldDescriptor.TYPE_BYTES:
            return self._bytes(value, here)
        return self._text(item, value, here)

    def _from_word(self, item: FieldDescriptor, word: str, here: str) -> Any:
        if item.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            meaning = {"true": True, "1": True, "false": False, "0": False}.get(word.lower())
            if meaning is None:
                return self._refuse(
                    here, "FIELD_TYPE", f"{_at(here)} must be true or false, not {_short(word)}."
                )
            return meaning
        return self._scalar(item, word, here)

    def _enum(self, item: FieldDescriptor, value: Any, here: str) -> Any:
        if isinstance(value, str):
            number = enum_numbers(enum_of(item)).get(value.strip().lower())
            if number is not None:
                return number
        words = list(enum_choices(enum_of(item)))
        near = get_close_matches(str(value).lower(), words, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        known = ", ".join(words)
        return self._refuse(
            here,
            "FIELD_INVALID",
            f"{_at(here)} cannot be {_short(value)}.{hint} It is one of: {known}.",
        )

    def _integer(self, item: FieldDescriptor, value: Any, here: str) -> Any:
        number: int | None = None
        if isinstance(value, int) and not isinstance(value, bool):
            number = value
        elif (isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT) or (
            isinstance(value, str) and _WHOLE.fullmatch(value)
        ):
            number = int(value)
        if number is None:
            kind = _short(value) if isinstance(value, str | float) else _kind(value)
            return self._refuse(
                here, "FIELD_TYPE", f"{_at(here)} must be a whole number, not {kind}."
            )
        lowest, highest = _INTEGERS[item.cpp_type]
        if _is_limited(item):
            return min(max(number, lowest), highest)
        if not lowest <= number <= highest:
            return self._refuse(
                here, "FIELD_INVALID", f"{_at(here)} must be between {lowest} and {highest}."
            )
        return number

    def _float(self, value: Any, here: str) -> Any:
        try:
            if not isinstance(value, bool):
                return float(value)
        except (TypeError, ValueError, OverflowError):
            pass
        return self._refuse(
            here, "FIELD_TYPE", f"{_at(here)} must be a number, not {_kind(value)}."
        )

    def _bytes(self, value: str, here: str) -> Any:
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return self._refuse(here, "FIELD_TYPE", f"{_at(here)} must be base64.")

    def _text(self, item: FieldDescriptor, value: str, here: str) -> Any:
        if "\0" in value:
            return self._refuse(
                here, "FIELD_INVALID", f"{_at(here)} has a NUL character, which is not allowed."
            )
        if any("\ud800" <= char <= "\udfff" for char in value):
            return self._refuse(
                here,
                "FIELD_INVALID",
                f"{_at(here)} has half a surrogate pair, which is no character.",
            )
        is_core = item.full_name.startswith("entrepot.core.v1.")
        if is_reference(item) or (is_core and item.name in _CORE_REFERENCES):
            return self.resource_name(value)
        return value

    def scalar(self, item: FieldDescriptor, word: str) -> Any:
        """The value that a parameter of the query has as this field."""
        return self._scalar(item, Words([word]), f"#/{item.name}")

    def resource_name(self, value: str) -> str:
        """The name in an href or an absolute URL of this API; anything else as it is."""
        for start in (f"{self.origin}{PREFIX}/" if self.origin else "", f"{PREFIX}/"):
            if start and value.startswith(start):
                return value[len(start) :].strip("/")
        return value

    def _refuse(self, pointer: str, reason: str, detail: str) -> Any:
        """Note what is wrong; there is no value."""
        self.wrong(pointer, reason, detail)

    def wrong(self, pointer: str, reason: str, detail: str) -> None:
        """Note what is wrong."""
        self.errors.append(InputError(pointer, reason, detail, self.where))


def _is_limited(item: FieldDescriptor) -> bool:
    """Say whether core has a limit of its own for a number, below what its type can hold.

    What the type cannot hold becomes the most or the least that it can, so that whoever sent it is
    told the field's own limits.
    """
    is_core = item.full_name.startswith("entrepot.core.v1.")
    return is_core and (item.message_type is not None or item.cpp_type in _SHORT)


def _has(item: FieldDescriptor, target: Message) -> bool:
    if item.has_presence:
        return target.HasField(item.name)
    return bool(getattr(target, item.name))


def _offer(
    descriptor: Descriptor,
    inner: dict[str, FieldDescriptor],
    hidden: FieldDescriptor | None,
    given: frozenset[str],
) -> str:
    settable = [
        item.name
        for item in descriptor.fields
        if item is not hidden and item.name not in given and not is_output_only(item)
    ]
    every = [*settable, *(item.name for item in inner.values() if item.name not in settable)]
    return f" There are: {', '.join(dict.fromkeys(every))}." if every else ""


def _at(pointer: str) -> str:
    """A field as core names it, which is what google.rpc.BadRequest says: "cages[0].bars"."""
    path = ""
    for token in pointer.split("/")[1:]:
        name = unescape(token)
        if name.isdecimal():
            path += f"[{name}]"
        else:
            path += f".{name}" if name.isidentifier() else f'["{name}"]'
    return path.removeprefix(".") or "The document"


def _kind(value: object) -> str:
    """What a JSON value is, in words."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return "a number"
        case str() | Words():
            return "text"
        case list():
            return "a list"
        case _:
            return "an object"


def _short(value: object) -> str:
    text = repr(value) if isinstance(value, str | int | float) else _kind(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
