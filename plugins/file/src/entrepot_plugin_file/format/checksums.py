"""Reads SHA256SUMS: what `sha256sum` of GNU coreutils writes, also with --binary or --tag.

A line is `<sha256>  <path>`, with a `*` in place of the second space for binary mode, which means
the same here, or `SHA256 (<path>) = <sha256>`. A backslash before the line says that line feeds,
carriage returns and backslashes in the path are escaped. A `./` before the path, which `find`
writes, is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from entrepot_plugin_file.format.claims import Claims
from entrepot_plugin_file.format.lines import LineReader
from entrepot_plugin_file.format.path import PathError

__all__ = ["Checksum", "ChecksumReader"]

_PLAIN = re.compile(r"(?P<sha256>[0-9a-fA-F]{64}) [ *](?P<path>.*)", re.DOTALL)
_TAGGED = re.compile(r"SHA256 \((?P<path>.*)\) = (?P<sha256>[0-9a-fA-F]{64})", re.DOTALL)
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Checksum:
    """One file: where it is below the folder of the list, and its SHA-256."""

    path: str
    sha256: str


class ChecksumReader(LineReader[Checksum]):
    """Takes a list in pieces of any length, and gives its lines when they are complete.

    It remembers every path, to find those that clash.
    """

    def __init__(self) -> None:
        super().__init__()
        self._claims = Claims("line {}")

    def parse(self, text: str) -> Checksum:
        """Return the file that a line names."""
        is_escaped = text.startswith("\\")
        match = _TAGGED.fullmatch(text, is_escaped) or _PLAIN.fullmatch(text, is_escaped)
        if match is None:
            raise self.error(
                "a line is <sha256>  <path>, or SHA256 (<path>) = <sha256>, as sha256sum writes it"
            )
        path = match["path"]
        if is_escaped:
            path = _ESCAPE.sub(self._unescape, path)
        path = path.removeprefix("./")
        try:
            self._claims.add(path, self.line)
        except PathError as error:
            raise self.error(str(error)) from None
        return Checksum(path, match["sha256"].lower())

    def _unescape(self, match: re.Match[str]) -> str:
        if match[1] not in _ESCAPED:
            raise self.error(f"the escape {match[0]} is none that sha256sum writes")
        return _ESCAPED[match[1]]
