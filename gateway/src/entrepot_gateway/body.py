"""What a client sent, as text, into a document of plain values: JSON, a form, or a query.

Keeps what `json.loads` alone would hide (a key given twice), and refuses what would wear us out:
too long, too deep, numbers that are none.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from entrepot_gateway.problem import ProblemError, refuse
from entrepot_rpc.errors import Code

# As much as core takes in one message.
MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 64
MAX_FORM_FIELDS = 10_000
MAX_DIGITS = 100

FORM = "application/x-www-form-urlencoded"


class Members(dict[str, Any]):
    """A JSON object that remembers which keys came more than once."""

    repeated: tuple[str, ...] = ()


class Words(list[str]):
    """The values of one field of a form or query: text that the field's type gives a meaning."""


class Pairs(list[tuple[str, str]]):
    """Fields below another, "labels.env=prod": the rest of each name, and its value."""


def parse_body(data: bytes, content_type: str) -> dict[str, Any]:
    """The document in a request's body; an empty body is an empty document.

    Raises:
        ServiceError: it is none, or of a type that is not taken.

    """
    media_type = content_type.partition(";")[0].strip().lower()
    if not data.strip():
        return {}
    if media_type == FORM:
        return form(data.decode("latin-1"))
    if media_type in ("", "application/json") or media_type.endswith("+json"):
        return parse_json(data)
    raise ProblemError(
        415,
        "MEDIA_TYPE_UNSUPPORTED",
        f"Send application/json or {FORM}, not {media_type}.",
        headers={"Accept": f"application/json, {FORM}"},
    )


def parse_json(data: bytes) -> dict[str, Any]:
    """The object in a JSON text."""
    try:
        value = json.loads(
            # A byte order mark is ignored, as RFC 8259 8.1 allows.
            data.decode("utf-8-sig"),
            object_pairs_hook=_members,
            parse_constant=_refuse_constant,
            parse_int=_parse_int,
        )
    except RecursionError:
        raise refuse("#", f"The JSON is nested deeper than {MAX_DEPTH} levels.") from None
    except UnicodeDecodeError as error:
        raise refuse("#", f"The body is not UTF-8: see its byte {error.start}.") from None
    except ValueError as error:
        raise refuse("#", f"The body is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise refuse("#", "The body must be a JSON object.")
    if _is_deep(value):
        raise refuse("#", f"The JSON is nested deeper than {MAX_DEPTH} levels.")
    return value


def form(text: str) -> dict[str, Any]:
    """The document in a form or a query: repeated names become lists, dots lead inside."""
    try:
        pairs = parse_qsl(
            text,
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_FORM_FIELDS,
        )
    except UnicodeDecodeError:
        raise refuse("#", "A character written with % is not UTF-8.") from None
    except ValueError:
        raise refuse("#", f"There are more than {MAX_FORM_FIELDS:,} fields.") from None
    return nest(pairs)


def nest(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """One level of a form: values, and what lies below a dot."""
    result: dict[str, Any] = {}
    for name, value in pairs:
        head, dot, rest = name.partition(".")
        if dot and head:
            below = result.setdefault(head, Pairs())
            if not isinstance(below, Pairs):
                raise refuse(f"#/{head}", f"{head} is given as a value and as an object.")
            below.append((rest, value))
        else:
            words = result.setdefault(name, Words())
            if not isinstance(words, Words):
                raise refuse(f"#/{name}", f"{name} is given as a value and as an object.")
            words.append(value)
    return result


def too_large(limit: int = MAX_BYTES) -> ProblemError:
    """The refusal of a body over the limit."""
    return ProblemError(
        413,
        "REQUEST_TOO_LARGE",
        f"The body is larger than {limit} bytes. Split the request, or upload a file.",
        code=Code.INVALID_ARGUMENT,
    )


def _members(pairs: list[tuple[str, Any]]) -> Members:
    members = Members(pairs)
    if any("\ud800" <= char <= "\udfff" for key in members for char in key):
        message = "the name of a field has half of a surrogate pair"
        raise ValueError(message)
    if len(members) != len(pairs):
        seen: set[str] = set()
        twice = [key for key, _ in pairs if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
        members.repeated = tuple(dict.fromkeys(twice))
    return members


def _refuse_constant(name: str) -> NoReturn:
    message = f"{name} is not a number in JSON"
    raise ValueError(message)


def _parse_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        message = f"a number has more than {MAX_DIGITS} digits"
        raise ValueError(message)
    return int(digits)


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for one in level
            if isinstance(one, dict | list)
            for item in (one.values() if isinstance(one, dict) else one)
            if isinstance(item, dict | list)
        ]
        if not level:
            return False
    return True
