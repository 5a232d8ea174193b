"""Path templates of google.api.http: which request paths they take, and what they bind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

_PART = re.compile(r"\{([a-z_.]+)(?:=([^}]*))?\}|[^/{}]+")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f/\\]")


@dataclass(frozen=True, slots=True)
class Variable:
    """A field of the request that the path binds."""

    # Path of the field in the request, "repository.name".
    field: str
    # Where its segments start and end in the template.
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template; "*" stands for one segment."""

    text: str
    segments: tuple[str, ...]
    variables: tuple[Variable, ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """The template written as "/api/v3/{name=repositories/*/*}/versions"."""
        segments: list[str] = []
        variables: list[Variable] = []
        for match in _PART.finditer(text.strip("/")):
            field, pattern = match.groups()
            if field is None:
                segments.append(match.group())
                continue
            start = len(segments)
            segments.extend((pattern or "*").split("/"))
            variables.append(Variable(field, start, len(segments)))
        return cls(text, tuple(segments), tuple(variables))

    @property
    def shape(self) -> str:
        """The path with a "*" for each segment that may be anything."""
        return "/" + "/".join(self.segments)

    @property
    def literals(self) -> int:
        """How many segments are fixed: the more, the more specific."""
        return sum(segment != "*" for segment in self.segments)

    def match(self, segments: tuple[str, ...]) -> dict[str, str] | None:
        """The values the path binds, by field; None if it is not of this form."""
        if len(segments) != len(self.segments):
            return None
        for wanted, segment in zip(self.segments, segments, strict=True):
            if wanted not in ("*", segment):
                return None
        return {item.field: "/".join(segments[item.start : item.end]) for item in self.variables}

    def fill(self, values: dict[str, str]) -> str:
        """The canonical path, with a slash at its end."""
        parts = list(self.segments)
        for item in self.variables:
            parts[item.start : item.end] = values[item.field].split("/")
        return "/" + "/".join(quote(part, safe="") for part in parts) + "/"


def split_path(raw: str) -> tuple[str, ...] | None:
    """The segments of a raw path, each decoded once; None if one of them is no name.

    One slash at the end is the canonical form and makes no segment.
    """
    if not raw.startswith("/"):
        return None
    parts = raw.removesuffix("/")[1:].split("/") if raw != "/" else []
    segments: list[str] = []
    for part in parts:
        try:
            segment = unquote_to_bytes(part).decode("utf-8")
        except UnicodeDecodeError:
            return None
        if segment in ("", ".", "..") or _FORBIDDEN.search(segment):
            return None
        segments.append(segment)
    return tuple(segments)
