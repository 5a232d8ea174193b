"""Folders as people see them, and as JSON: written entry by entry, names always escaped."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from datetime import UTC, datetime
from urllib.parse import quote

from entrepot.core.v1.serving_service_pb2 import ListFolderResponse
from entrepot_gateway.content.negotiation import prefers

Entry = ListFolderResponse.Entry

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td{padding:.15rem .5rem .15rem 0}"
    "td+td{text-align:right;white-space:nowrap;color:#666}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

# A listing may look like something, and nothing else.
POLICY = f"sandbox; default-src 'none'; style-src 'sha256-{_STYLE_HASH}'".encode("ascii")

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


class HtmlListing:
    """A page with a row for each entry."""

    media_type = b"text/html; charset=utf-8"

    def start(self, path: str) -> str:
        """What comes before the entries."""
        title = html.escape(f"/{path}/" if path else "/")
        up = '<tr><td><a href="../">../</a></td><td></td><td></td></tr>\n' if path else ""
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f"<style>{_STYLE}</style></head><body><h1>{title}</h1>\n<table>\n{up}"
        )

    def entry(self, entry: Entry) -> str:
        """One row."""
        name = entry.name + ("/" if entry.is_folder else "")
        when = datetime.fromtimestamp(entry.time.seconds, UTC) if entry.time.seconds else None
        return (
            f'<tr><td><a href="{link(name)}">{html.escape(name)}</a></td>'
            f"<td>{'' if entry.is_folder else size(entry.size_bytes)}</td>"
            f"<td>{f'{when:%Y-%m-%d %H:%M} UTC' if when else ''}</td></tr>\n"
        )

    def end(self) -> str:
        """What comes after them."""
        return "</table>\n</body></html>\n"


class JsonListing:
    """An object with a list of entries."""

    media_type = b"application/json"

    def __init__(self) -> None:
        self._comma = ""

    def start(self, path: str) -> str:
        """What comes before the entries."""
        return f'{{"path": {json.dumps(path)}, "entries": ['

    def entry(self, entry: Entry) -> str:
        """One entry."""
        item: dict[str, object] = {"name": entry.name, "is_folder": entry.is_folder}
        if not entry.is_folder:
            item["size_bytes"] = entry.size_bytes if entry.size_bytes >= 0 else None
            item["sha256"] = entry.sha256 or None
        if entry.HasField("time"):
            item["time"] = entry.time.ToJsonString()
        comma, self._comma = self._comma, ","
        return f"{comma}\n{json.dumps(item)}"

    def end(self) -> str:
        """What comes after them."""
        return "\n]}\n"


Listing = HtmlListing | JsonListing


def listing_for(accept: str) -> Listing:
    """The form that a client prefers: HTML, unless it likes JSON better."""
    return JsonListing() if prefers(accept, "application/json", "text/html") else HtmlListing()


def tag(listing: Listing, base_path: str, content_set: str, path: str) -> bytes:
    """The entity tag of a listing of a content set, which changes with the listing's form too.

    It is a weak one: sizes and digests that were not known before come without a new tag, and what
    is compressed has the same.
    """
    parts = (_FORM, listing.media_type.decode("ascii"), content_set, base_path, path)
    return b'W/"%s"' % hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32].encode("ascii")


def link(name: str) -> str:
    """A relative reference that cannot be taken for a scheme, a host or a query."""
    return html.escape(f"./{quote(name)}")


def size(count: int) -> str:
    """A length in binary units; a dash if it is not known."""
    if count < 0:
        return "–"
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:  # noqa: PLR2004  what makes them binary
        value /= 1024
        unit += 1
    return f"{count} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def _form() -> str:
    """A digest of how listings look, over one entry of each kind."""
    shown = []
    for listing in (HtmlListing(), JsonListing()):
        entries = [Entry(name=name, is_folder=name < "b") for name in "ab"]
        shown += [listing.start("x"), *map(listing.entry, entries), listing.end()]
    return hashlib.sha256("".join(shown).encode()).hexdigest()


_FORM = _form()
