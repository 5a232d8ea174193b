"""Reads text of one entry to a line, in pieces of any length. Every error names its line.

Lines that start with `#` and blank lines mean nothing, a line may end in CR LF, and a byte order
mark at the start is none of the text.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from codecs import BOM_UTF8
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_LINE_BYTES", "MAX_MANIFEST_BYTES", "LineReader", "ManifestError"]

MAX_LINE_BYTES = 8 * 1024
MAX_MANIFEST_BYTES = 256 * 1024 * 1024

T_co = TypeVar("T_co", covariant=True)


class ManifestError(ValueError):
    """A list of files that is not one; `line` counts from 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line
        self.problem = problem


class LineReader(ABC, Generic[T_co]):
    """Gives what each line says as soon as it is complete; keeps no more than one line."""

    def __init__(
        self, *, max_line_bytes: int = MAX_LINE_BYTES, max_bytes: int = MAX_MANIFEST_BYTES
    ) -> None:
        self.line = 0
        self._max_line_bytes = max_line_bytes
        self._max_bytes = max_bytes
        self._rest = b""
        self._bytes = 0

    @abstractmethod
    def parse(self, text: str) -> T_co:
        """Return what a line says, or raise `error`."""

    def error(self, problem: str) -> ManifestError:
        """Return the error of the line that is being read."""
        return ManifestError(self.line, problem)

    def feed(self, data: bytes) -> Iterator[T_co]:
        """Yield what the lines say that end in this piece."""
        self._bytes += len(data)
        if self._bytes > self._max_bytes:
            raise ManifestError(
                self.line + 1, f"the manifest is longer than {self._max_bytes} bytes"
            )
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield from self._read(line)
        if len(self._rest) > self._max_line_bytes:
            raise self._too_long(self.line + 1)

    def close(self) -> Iterator[T_co]:
        """Yield what a last line without an end says."""
        rest, self._rest = self._rest, b""
        if rest:
            yield from self._read(rest)

    def _read(self, raw: bytes) -> Iterator[T_co]:
        self.line += 1
        if self.line == 1:
            raw = raw.removeprefix(BOM_UTF8)
        if len(raw) > self._max_line_bytes:
            raise self._too_long(self.line)
        try:
            text = raw.removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.error(f"byte {error.start + 1} is not UTF-8") from None
        if text.strip() and not text.startswith("#"):
            yield self.parse(text)

    def _too_long(self, line: int) -> ManifestError:
        return ManifestError(line, f"the line is longer than {self._max_line_bytes} bytes")
