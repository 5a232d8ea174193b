"""A file that core has fetched, and that the plugin reads as a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot_sdk.errors import TaskFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from entrepot.type.v1.digest_pb2 import Digest

__all__ = ["Fetched"]

_LINE_BYTES = 64 * 1024


class Fetched:
    """The bytes of a file, and where they came from. Iterating yields chunks of at most 1 MiB.

    Attributes:
        digest: SHA-256 and length.
        not_modified: Upstream said that nothing changed since the last fetch; the bytes are there
            all the same.
        final_url: After redirects; relative URLs in the file refer to it.
        previous: What the same URL sent the last time, if that was something else and core still
            has it. Whether anything was made of it is not said: remember that with `set_state`.
    """

    def __init__(
        self,
        digest: Digest,
        *,
        not_modified: bool,
        final_url: str,
        previous: Fetched | None = None,
        chunks: Callable[[], AsyncIterator[bytes]],
    ) -> None:
        self.digest = digest
        self.not_modified = not_modified
        self.final_url = final_url
        self.previous = previous
        self._chunks = chunks

    @property
    def sha256(self) -> str:
        """The digest in hexadecimal."""
        return self.digest.hex

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks()

    async def read(self, limit: int) -> bytes:
        """All bytes; fails the task if there are more than the limit."""
        data = bytearray()
        async for chunk in self:
            data += chunk
            if len(data) > limit:
                raise TaskFailed(
                    "FILE_TOO_LARGE",
                    f"{self.final_url} is larger than {limit} bytes.",
                    metadata={"url": self.final_url},
                )
        return bytes(data)

    async def lines(self, max_line_bytes: int = _LINE_BYTES) -> AsyncIterator[bytes]:
        """The lines without their ends; fails the task if one is longer than the limit."""
        rest = b""
        number = 1
        async for chunk in self:
            *complete, rest = (rest + chunk).split(b"\n")
            for line in complete:
                self._check(line, number, max_line_bytes)
                yield line.removesuffix(b"\r")
                number += 1
            self._check(rest, number, max_line_bytes)
        if rest:
            yield rest

    def _check(self, line: bytes, number: int, limit: int) -> None:
        if len(line) > limit:
            raise TaskFailed(
                "LINE_TOO_LONG",
                f"Line {number} of {self.final_url} is longer than {limit} bytes.",
                metadata={"url": self.final_url, "line": str(number)},
            )
