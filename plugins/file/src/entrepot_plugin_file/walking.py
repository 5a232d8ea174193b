"""Walks the pages of a folder and of those below it, never above it and on no other host."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from entrepot_plugin_file.format.listing import ListingError, read_listing
from entrepot_plugin_file.gathering import SIDE_BY_SIDE
from entrepot_sdk import TaskFailed

if TYPE_CHECKING:
    from entrepot_plugin_file.format.listing import Link
    from entrepot_sdk import Fetched, Workspace

__all__ = ["Tree", "walk"]

MAX_FILES = 100_000
MAX_FOLDERS = 10_000
MAX_DEPTH = 32
MAX_PAGE_BYTES = 16 * 1024 * 1024
# More than pages within these limits have, each of which may list a manifest that is left out.
MAX_LINKS = MAX_FILES + 2 * MAX_FOLDERS
# Core makes one of its own, for every version.
OURS = "PULP_MANIFEST"


@dataclass(slots=True)
class Tree:
    """What was found.

    Attributes:
        url: Of the folder, after redirects.
        files: Path and URL of each file.
        is_dated: Every page says when its files were changed, so that equal pages mean equal
            files.
        sha256: Over all pages, in hexadecimal.
        links: How many links led right below their pages.
    """

    url: str = ""
    files: list[tuple[str, str]] = field(default_factory=list)
    is_dated: bool = True
    sha256: str = ""
    links: int = 0
    # One page is read at a time, however many are fetched, so that memory does not grow with them.
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)


async def walk(workspace: Workspace, url: str) -> Tree:
    """Return the files on the page of a folder, and on those of the folders below it."""
    tree = Tree()
    pages = hashlib.sha256()
    level = [("", url)]
    seen = {url}
    depth = 0
    while level:
        if depth > MAX_DEPTH:
            raise _too_large(level[0][1], f"is deeper than {MAX_DEPTH} folders, as if in a loop")
        below: list[tuple[str, str]] = []
        for start in range(0, len(level), SIDE_BY_SIDE):
            step = level[start : start + SIDE_BY_SIDE]
            found = await asyncio.gather(*(_page(workspace, one, tree) for _, one in step))
            for (folder, _), (page, links) in zip(step, found, strict=True):
                pages.update(f"{page.final_url} {page.sha256}\n".encode())
                for link in links:
                    _take(tree, folder, link, below, seen)
            workspace.progress("sync.walk", len(seen), message="Reading pages of folders")
        level, depth = below, depth + 1
    tree.sha256 = pages.hexdigest()
    return tree


def _take(
    tree: Tree, folder: str, link: Link, below: list[tuple[str, str]], seen: set[str]
) -> None:
    path = folder + link.name
    if link.is_folder:
        if link.url not in seen:
            seen.add(link.url)
            below.append((f"{path}/", link.url))
        if len(seen) > MAX_FOLDERS:
            raise _too_large(tree.url, f"has more than {MAX_FOLDERS:,} folders")
    elif path != OURS:
        tree.files.append((path, link.url))
        tree.is_dated = tree.is_dated and link.is_dated
        if len(tree.files) > MAX_FILES:
            raise _too_large(tree.url, f"lists more than {MAX_FILES:,} files")


async def _page(workspace: Workspace, url: str, tree: Tree) -> tuple[Fetched, list[Link]]:
    page = await workspace.fetch(url, max_bytes=MAX_PAGE_BYTES)
    tree.url = tree.url or page.final_url
    if not _is_below(page.final_url, tree.url):
        raise _invalid(page.final_url, f"{url} leads out of {tree.url}, to {page.final_url}.")
    async with tree.reading:
        text = (await page.read(MAX_PAGE_BYTES)).decode("utf-8", "replace")
        try:
            links = list(islice(read_listing(text, page.final_url), MAX_LINKS + 1))
        except ListingError as error:
            raise _invalid(page.final_url, f"{page.final_url}, {error}.") from None
        tree.links += len(links)
    if tree.links > MAX_LINKS:
        raise _too_large(tree.url, f"lists more than {MAX_FILES:,} files")
    return page, links


def _is_below(url: str, root: str) -> bool:
    here, top = urlsplit(url), urlsplit(root)
    folder = top.path[: top.path.rfind("/") + 1] or "/"
    is_same_host = (here.scheme, here.netloc) == (top.scheme, top.netloc)
    return is_same_host and (here.path or "/").startswith(folder)


def _invalid(url: str, message: str) -> TaskFailed:
    return TaskFailed("LISTING_INVALID", message, metadata={"url": url})


def _too_large(url: str, what: str) -> TaskFailed:
    return TaskFailed("LISTING_TOO_LARGE", f"{url} {what}.", metadata={"url": url})
