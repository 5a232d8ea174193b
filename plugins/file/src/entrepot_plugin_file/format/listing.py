"""Reads a folder's page as web servers write it: nginx, Apache (plain, fancy, table), Python.

What counts are the links that lead right below the page: a name is a file, a name with a slash a
folder. Links with a query (which sort), to other hosts, to the folder above, or further below are
none of the folder, and the text beside a link is its date and size as the server wrote them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from entrepot_plugin_file.format.anchors import read_anchors
from entrepot_plugin_file.format.path import PathError, check_path

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Link", "ListingError", "read_listing"]

_SHOWN = 100
_DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d|\d\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d")


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


def read_listing(text: str, url: str) -> Iterator[Link]:
    """Yield what the page at a URL lists, each name once.

    Raises ListingError for a name that cannot be a file's, such as one with an encoded slash.
    """
    here = urlsplit(url)
    folder = here.path[: here.path.rfind("/") + 1] or "/"
    seen: set[str] = set()
    for line, href, beside in read_anchors(text):
        try:
            target = urlsplit(urljoin(url, href))
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
            bool(_DATE.search(beside)),
        )


def _name(spelled: str, line: int) -> str:
    shown = spelled if len(spelled) <= _SHOWN else f"{spelled[:_SHOWN]}…"
    if "%2f" in spelled.lower():
        raise ListingError(line, f"the link {shown} has an encoded slash")
    try:
        name = unquote(spelled, errors="strict")
        check_path(name)
    except UnicodeDecodeError:
        raise ListingError(line, f"the link {shown} is not UTF-8") from None
    except PathError as error:
        raise ListingError(line, f"the link {shown}: {error}") from None
    return name
