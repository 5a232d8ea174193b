"""Finds the links of a page of HTML, in time that grows with its length and nothing else.

The readers of HTML at hand take hours for a page of 16 MiB that was made for it. This one knows
tags, comments, and elements whose text is no markup; no page of a folder has more.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Anchor", "read_anchors"]

# Neither character stands unescaped in what a web server writes into a tag, so that each
# piece of the page is looked at once.
_TAG = re.compile(r"<!--|<([^<>]*)>")
_NAME = re.compile(r"[a-z][a-z0-9]*", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""([^\s=/"']+)(?:\s*=\s*("[^"]*"|'[^']*'|[^\s"']+))?""")
_RAW = {
    name: re.compile(f"</{name}", re.IGNORECASE)
    for name in ("script", "style", "textarea", "title")
}
# Longer than any path of ours is when every byte is percent-encoded, so that what is cut off makes
# no name that would do. An entity with more digits than a number may have is longer, too.
_LONGEST = 4_096


class Anchor(NamedTuple):
    """A link.

    Attributes:
        line: Where it stands, counted from 1.
        href: Its target, without entities.
        beside: The text from there to the next one, with its entities.
    """

    line: int
    href: str
    beside: str


def read_anchors(page: str) -> Iterator[Anchor]:
    """Yield the links of a page in order; a target that is longer than any file's is cut."""
    line, counted, position = 1, 0, 0
    href: str | None = None
    beside: list[str] = []
    while (tag := _TAG.search(page, position)) is not None:
        if href is not None and position < tag.start():
            beside.append(page[position : tag.start()])
        position = _after(page, tag)
        target = _target(tag[1] or "")
        if target is None:
            continue
        if href is not None:
            yield Anchor(line, href, " ".join(beside))
        line += page.count("\n", counted, tag.start())
        counted, href, beside = tag.start(), target, []
    if href is not None:
        beside.append(page[position:])
        yield Anchor(line, href, " ".join(beside))


def _after(page: str, tag: re.Match[str]) -> int:
    """Where the page goes on after a tag, a comment, or what is no markup."""
    if tag[1] is None:
        end = page.find("-->", tag.end())
        return len(page) if end < 0 else end + 3
    name = _NAME.match(tag[1])
    closing = _RAW.get(name[0].lower()) if name else None
    if closing is None:
        return tag.end()
    found = closing.search(page, tag.end())
    return found.start() if found else len(page)


def _target(tag: str) -> str | None:
    name = _NAME.match(tag)
    if name is None or name[0].lower() != "a":
        return None
    for attribute in _ATTRIBUTE.finditer(tag, name.end()):
        if attribute[1].lower() == "href":
            value = attribute[2] or ""
            spelled = value[1:-1] if value[:1] in ('"', "'") else value
            return html.unescape(spelled[:_LONGEST]).strip() if spelled else None
    return None
