"""Reads a folder's page as web servers write it: nginx, Apache (plain, fancy, table), Python.

What counts are the links that lead right below the page: a name is a file, a name with a slash a
folder. Links with a query (which sort), to other hosts, to the folder above, or further below are
none of the folder, and the text beside a link is its date and size as the server wrote them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from entrepot_plugin_file.format.path import PathError, check_path

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Link", "ListingError", "read_listing"]

_DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d|\d\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d")
_IDLE = {"script", "style", "title"}


class ListingError(ValueError):
    """A page with a link that no honest server writes; `line` counts from 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Link:
    """A file or folder that a page lists.

    Attributes:
        name: Decoded; without the slash at the end of a folder.
        url: Absolute, as the server spells it.
        is_folder: Whether it has a page of its own.
        is_dated: Whether the page says when it was changed.
    """

    name: str
    url: str
    is_folder: bool
    is_dated: bool


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        # The line and target of each link, and the text from there to the next one.
        self.links: list[tuple[int, str, list[str]]] = []
        self._idle = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _IDLE:
            self._idle += 1
        href = dict(attrs).get("href")
        if tag == "a" and href:
            self.links.append((self.getpos()[0], href, []))

    def handle_endtag(self, tag: str) -> None:
        if tag in _IDLE:
            self._idle = max(0, self._idle - 1)

    def handle_data(self, data: str) -> None:
        if self.links and not self._idle:
            self.links[-1][2].append(data)


def read_listing(text: str, url: str) -> Iterator[Link]:
    """Yield what the page at a URL lists, each name once.

    Raises ListingError for a name that cannot be a file's, such as one with an encoded slash.
    """
    page = _Page()
    page.feed(text)
    page.close()
    here = urlsplit(url)
    folder = here.path[: here.path.rfind("/") + 1] or "/"
    seen: set[str] = set()
    for line, href, beside in page.links:
        try:
            target = urlsplit(urljoin(url, href.strip()))
        except ValueError:
            continue
        if (target.scheme, target.netloc) != (here.scheme, here.netloc) or target.query:
            continue
        rest = target.path.removeprefix(folder)
        if rest == target.path or not rest or "/" in rest.removesuffix("/"):
            continue
        name = _name(rest.removesuffix("/"), line)
        if name in seen:
            continue
        seen.add(name)
        yield Link(
            name,
            urlunsplit((target.scheme, target.netloc, target.path, "", "")),
            rest.endswith("/"),
            bool(_DATE.search(" ".join(beside))),
        )


def _name(spelled: str, line: int) -> str:
    if "%2f" in spelled.lower():
        raise ListingError(line, f"the link {spelled} has an encoded slash")
    try:
        name = unquote(spelled, errors="strict")
        check_path(name)
    except UnicodeDecodeError:
        raise ListingError(line, f"the link {spelled} is not UTF-8") from None
    except PathError as error:
        raise ListingError(line, f"the link {spelled}: {error}") from None
    return name
