"""Reads and writes PULP_MANIFEST: one line `path,sha256,size` for each file.

A path may hold commas, so a line is split at its last two. Lines that start with `#` and blank
lines mean nothing, a line may end in CR LF, and a byte order mark at the start is none of the
path. Every error names its line.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from dataclasses import dataclass
from typing import TYPE_CHECKING

from entrepot_plugin_file.format.claims import Claims
from entrepot_plugin_file.format.path import PathError, check_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Entry", "ManifestError", "ManifestReader", "check_listed", "write_manifest"]

MAX_LINE_BYTES = 8 * 1024
MAX_MANIFEST_BYTES = 256 * 1024 * 1024

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_SIZE = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: where it is below the manifest's folder, and what it is."""

    path: str
    sha256: str
    size_bytes: int


class ManifestError(ValueError):
    """A manifest that is not one; `line` counts from 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line
        self.problem = problem


class ManifestReader:
    """Takes a manifest in pieces of any length, and gives its entries when they are complete.

    It remembers paths, to find those that clash, and no more of a manifest than one line.
    """

    def __init__(
        self,
        *,
        max_line_bytes: int = MAX_LINE_BYTES,
        max_bytes: int = MAX_MANIFEST_BYTES,
    ) -> None:
        self._max_line_bytes = max_line_bytes
        self._max_bytes = max_bytes
        self._rest = b""
        self._line = 0
        self._bytes = 0
        self._claims = Claims("line {}")

    def feed(self, data: bytes) -> Iterator[Entry]:
        """Yield the entries that end in this piece."""
        self._bytes += len(data)
        if self._bytes > self._max_bytes:
            raise ManifestError(
                self._line + 1, f"the manifest is longer than {self._max_bytes} bytes"
            )
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield from self._read(line)
        if len(self._rest) > self._max_line_bytes:
            raise self._too_long(self._line + 1)

    def close(self) -> Iterator[Entry]:
        """Yield the entry of a last line without an end."""
        rest, self._rest = self._rest, b""
        if rest:
            yield from self._read(rest)

    def _read(self, raw: bytes) -> Iterator[Entry]:
        self._line += 1
        if self._line == 1:
            raw = raw.removeprefix(BOM_UTF8)
        if len(raw) > self._max_line_bytes:
            raise self._too_long(self._line)
        try:
            text = raw.removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError as error:
            raise ManifestError(self._line, f"byte {error.start + 1} is not UTF-8") from None
        if text.strip() and not text.startswith("#"):
            yield self._parse(text)

    def _parse(self, text: str) -> Entry:
        fields = text.rsplit(",", 2)
        if len(fields) != len(Entry.__slots__):
            raise ManifestError(self._line, "a line is path,sha256,size")
        path, sha256, size = fields[0], fields[1].strip(), fields[2].strip()
        if not _SHA256.fullmatch(sha256):
            raise ManifestError(self._line, "the digest is not a SHA-256 of 64 hexadecimal digits")
        if not _SIZE.fullmatch(size):
            raise ManifestError(self._line, "the size is not a number of bytes")
        try:
            self._claims.add(path, self._line)
        except PathError as error:
            raise ManifestError(self._line, str(error)) from None
        return Entry(path, sha256.lower(), int(size))

    def _too_long(self, line: int) -> ManifestError:
        return ManifestError(line, f"the line is longer than {self._max_line_bytes} bytes")


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
