"""Reads and writes PULP_MANIFEST: one line `path,sha256,size` for each file.

A path may hold commas, so a line is split at its last two. Lines that start with `#` and blank
lines mean nothing, a line may end in CR LF, and a byte order mark at the start is none of the
path. Every error names its line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_plugin_file.format.claims import Claims
from entrepot_plugin_file.format.lines import (
    MAX_LINE_BYTES,
    MAX_MANIFEST_BYTES,
    LineReader,
    ManifestError,
)
from entrepot_plugin_file.format.path import PathError, check_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "MAX_MANIFEST_BYTES",
    "Entry",
    "ManifestError",
    "ManifestReader",
    "check_listed",
    "write_manifest",
]

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_SIZE = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: where it is below the manifest's folder, and what it is."""

    path: str
    sha256: str
    size_bytes: int


class ManifestReader(LineReader[Entry]):
    """Takes a manifest in pieces of any length, and gives its entries when they are complete.

    It remembers paths, to find those that clash, and no more of a manifest than one line.
    """

    def __init__(
        self,
        *,
        max_line_bytes: int = MAX_LINE_BYTES,
        max_bytes: int = MAX_MANIFEST_BYTES,
    ) -> None:
        super().__init__(max_line_bytes=max_line_bytes, max_bytes=max_bytes)
        self._claims = Claims("line {}")

    def parse(self, text: str) -> Entry:
        """Return the entry that a line is."""
        fields = text.rsplit(",", 2)
        if len(fields) != len(Entry.__slots__):
            raise self.error("a line is path,sha256,size" + _hint(text))
        path, sha256, size = fields[0], fields[1].strip(), fields[2].strip()
        if not _SHA256.fullmatch(sha256):
            raise self.error("the digest is not a SHA-256 of 64 hexadecimal digits")
        if not _SIZE.fullmatch(size):
            raise self.error("the size is not a number of bytes")
        try:
            self._claims.add(path, self.line)
        except PathError as error:
            raise self.error(str(error)) from None
        return Entry(path, sha256.lower(), int(size))


def _hint(text: str) -> str:
    """Return what to do about a line of something else that remotes can read."""
    for looks_like, what, kind in (
        (text.lstrip().startswith("<"), "a page", "listing"),
        (_SHA256.match(text), "a list of checksums", "checksums"),
    ):
        if looks_like:
            return f'; this looks like {what}, for which the remote needs kind "{kind}"'
    return ""


def check_listed(path: str) -> None:
    """Return if a manifest may list the path, and raise PathError if it could not be read back."""
    check_path(path)
    if path.startswith(("#", "\N{BYTE ORDER MARK}")):
        raise PathError("a manifest cannot list a path that starts with # or a byte order mark")


def write_manifest(entries: Iterable[Entry]) -> Iterator[bytes]:
    """Yield the line of each entry, with its end."""
    for entry in entries:
        check_listed(entry.path)
        yield f"{entry.path},{entry.sha256},{entry.size_bytes}\n".encode()
