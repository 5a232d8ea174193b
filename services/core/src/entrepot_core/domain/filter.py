"""Filters of lists: the part of AIP-160 (google.aip.dev/160) that flat fields need, as a tree.

    filter     = [ sequence { "AND" sequence } ]
    sequence   = factor { factor }                  one after the other means AND
    factor     = term { "OR" term }                 OR binds tighter than AND, as AIP-160 has it
    term       = [ "NOT" | "-" ] ( comparison | "(" filter ")" )
    comparison = field ( "=" | "!=" | "<" | "<=" | ">" | ">=" | ":" ) value
    value      = word | "'" text "'" | '"' text '"'

With "=" and "!=", a "*" at the start or end of a value stands for any text; a backslash takes the
meaning from it, as from a quote. `field:text` means that the field contains the text, `field:*`
that it is there at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from entrepot_core.domain.errors import QueryInvalidError

__all__ = ["All", "Any", "Comparison", "Node", "Not", "parse", "query_error"]

MAX_CHARACTERS = 4096
MAX_COMPARISONS = 100
MAX_DEPTH = 32

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<operator><=|>=|!=|[=<>:])
      | (?P<paren>[()])
      | (?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<word>(?:[^\s()<>=!:"'\\,]|\\.)+)""",
    re.VERBOSE | re.DOTALL,
)
_FIELD = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field against a value; `position` is where it stands, from 0, for error messages.

    `any_before` and `any_after` are the stars around the text.
    """

    field: str
    operator: str
    text: str
    is_quoted: bool
    any_before: bool
    any_after: bool
    position: int


@dataclass(frozen=True, slots=True)
class Not:
    """Holds if its part does not."""

    part: Node


@dataclass(frozen=True, slots=True)
class All:
    """Holds if all parts do."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Any:
    """Holds if at least one part does."""

    parts: tuple[Node, ...]


Node: TypeAlias = Comparison | Not | All | Any


def parse(text: str) -> Node | None:
    """The tree of a filter; None if it is empty.

    Raises QueryInvalidError whose metadata has the position, counted in characters from 0.
    """
    if len(text) > MAX_CHARACTERS:
        raise query_error(f"it is longer than {MAX_CHARACTERS} characters.", MAX_CHARACTERS)
    parser = _Parser(text)
    if parser.kind == "end":
        return None
    node = parser.sequence(0)
    if parser.kind != "end":
        raise query_error(f'"{parser.text}" is unexpected.', parser.position)
    return node


def query_error(message: str, position: int) -> QueryInvalidError:
    """The error of a filter, at a position."""
    words = f"The filter cannot be used: at character {position}, {message}"
    return QueryInvalidError.at("filter", words, position)


class _Parser:
    """Reads one token ahead: its kind, text and position."""

    def __init__(self, text: str) -> None:
        self._source = text
        self._end = 0
        self._comparisons = 0
        self.kind, self.text, self.position = "", "", 0
        self._next()

    def sequence(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise query_error(f"there are more than {MAX_DEPTH} parentheses.", self.position)
        parts = [self._factor(depth)]
        while self.kind != "end" and self.text != ")":
            if self._is_word("AND"):
                self._next()
            parts.append(self._factor(depth))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _factor(self, depth: int) -> Node:
        parts = [self._term(depth)]
        while self._is_word("OR"):
            self._next()
            parts.append(self._term(depth))
        return parts[0] if len(parts) == 1 else Any(tuple(parts))

    def _term(self, depth: int) -> Node:
        if self._is_word("NOT"):
            self._next()
            return Not(self._simple(depth))
        if self.kind == "word" and self.text.startswith("-") and len(self.text) > 1:
            self.text = self.text[1:]
            self.position += 1
            return Not(self._simple(depth))
        if self._is_word("-"):
            self._next()
            return Not(self._simple(depth))
        return self._simple(depth)

    def _simple(self, depth: int) -> Node:
        if self.kind == "paren" and self.text == "(":
            opened = self.position
            self._next()
            node = self.sequence(depth + 1)
            if self.text != ")" or self.kind != "paren":
                raise query_error('the "(" is not closed.', opened)
            self._next()
            return node
        return self._comparison()

    def _comparison(self) -> Comparison:
        field, position = self.text, self.position
        if self.kind == "end":
            raise query_error("a comparison is missing.", position)
        if self.kind != "word" or not _FIELD.fullmatch(field):
            raise query_error(f'"{field}" is not the name of a field.', position)
        self._comparisons += 1
        if self._comparisons > MAX_COMPARISONS:
            raise query_error(f"there are more than {MAX_COMPARISONS} comparisons.", position)
        self._next()
        if self.kind != "operator":
            raise query_error(
                f'after "{field}" one of = != < <= > >= : is missing.', self.position
            )
        operator = self.text
        self._next()
        if self.kind not in {"word", "quoted"}:
            raise query_error(f'after "{field} {operator}" a value is missing.', self.position)
        comparison = _compare(field, operator, self.text, position, quoted=self.kind == "quoted")
        self._next()
        return comparison

    def _is_word(self, word: str) -> bool:
        return self.kind == "word" and self.text == word

    def _next(self) -> None:
        while True:
            self.position = self._end
            if self._end == len(self._source):
                self.kind, self.text = "end", ""
                return
            match = _TOKEN.match(self._source, self._end)
            if match is None:
                character = self._source[self._end]
                what = "the quote is not closed." if character in "\"'" else "is unexpected."
                raise query_error(
                    what if character in "\"'" else f'"{character}" {what}', self._end
                )
            self._end = match.end()
            self.kind, self.text = match.lastgroup or "", match.group()
            if self.kind != "space":
                return


def _compare(field: str, operator: str, raw: str, position: int, *, quoted: bool) -> Comparison:
    body = raw[1:-1] if quoted else raw
    any_before = any_after = False
    if operator in {"=", "!="}:
        any_before = body.startswith("*")
        body = body[1:] if any_before else body
        any_after = body.endswith("*") and not re.search(r"(?:^|[^\\])(?:\\\\)*\\\*$", body)
        body = body[:-1] if any_after else body
    text = re.sub(r"\\(.)", r"\1", body, flags=re.DOTALL)
    if "\0" in text:
        raise query_error("the value has a NUL character in it.", position)
    return Comparison(field, operator, text, quoted, any_before, any_after, position)
