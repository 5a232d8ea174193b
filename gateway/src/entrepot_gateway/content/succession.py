"""Two stores of blobs that look like one, while blobs move from one to the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entrepot_gateway.content.blobs import Blobs, OpenBlob
    from entrepot_gateway.content.ranges import Range


class Succession:
    """Looks in the new store first."""

    def __init__(self, new: Blobs, previous: Blobs) -> None:
        self._new = new
        self._previous = previous

    async def open(self, sha256: str, wanted: Range | None) -> OpenBlob | None:
        """The blob, wherever it is."""
        found = await self._new.open(sha256, wanted)
        return found if found is not None else await self._previous.open(sha256, wanted)
