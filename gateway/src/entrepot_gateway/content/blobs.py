"""Where the bytes of stored files are, for whoever sends them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from starlette.types import Send

    from entrepot_gateway.content.ranges import Range


class Seal(Protocol):
    """That a path led to a blob's file when it was opened."""

    def holds(self) -> bool:
        """Whether it still leads to the same file."""


class OpenBlob(Protocol):
    """A blob that was found. Close it."""

    @property
    def size(self) -> int:
        """Its length in bytes, as the store says."""

    @property
    def path(self) -> str:
        """Its file, which a server may send by itself; empty if it is none of this machine."""

    @property
    def internal_path(self) -> str:
        """Where a proxy in front finds it, which sends it when told to; empty if none does."""

    @property
    def seal(self) -> Seal | None:
        """Tells later whether that path may be used again; None without a path."""

    @property
    def location(self) -> str:
        """A link under which a client gets it from elsewhere, and should; empty if there is none.

        It holds for a while, for whoever has it, and for GET only.
        """

    async def send(self, send: Send, first: int, last: int) -> None:
        """Send these bytes, the last one included, as parts of a body that goes on.

        Raises:
            BrokenConnectionError: they are not there any more.

        """

    def close(self) -> None:
        """Give back what it holds."""


class Blobs(Protocol):
    """A store of blobs, read only."""

    async def open(self, sha256: str, wanted: Range | None) -> OpenBlob | None:
        """The blob, if it is there. What is wanted, which is sent first, may be asked for at once.

        Args:
            sha256: its digest, in lowercase hexadecimal.
            wanted: first and last byte; None if only the size matters.

        Raises:
            ValueError: it is not a digest.

        """
