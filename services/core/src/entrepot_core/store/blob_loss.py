"""Blobs whose bytes are lost or damaged: their rows go, so that nothing believes in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from entrepot_core.domain.blob import Blob
    from entrepot_core.store.database import Database

__all__ = ["forget"]


class _Files(Protocol):
    def size(self, digest: bytes) -> int | None: ...

    def set_aside(self, digests: Iterable[bytes]) -> None: ...

    def discard(self, digests: Iterable[bytes]) -> None: ...


def forget(
    database: Database, files: _Files, blob: Blob, is_intact: Callable[[], bool] | None = None
) -> bool:
    """Whether a blob is lost; then its row and what is left of its bytes have gone.

    From then on it is fetched or uploaded again like one that was never here. An index of a
    version is made anew when it is asked for, and metadata of an upstream fetched anew.

    Args:
        database: Where the row is.
        files: Where the bytes are.
        blob: Which.
        is_intact: Looks at the bytes; by default their length has to be right.
    """
    with database.transaction() as cursor:
        # Who brings the same bytes at this moment waits, and then sees that they are not there.
        cursor.execute("SELECT FROM blob WHERE digest = %s FOR UPDATE", (blob.digest,))
        if cursor.rowcount == 0:
            return True
        size = files.size(blob.digest)
        if size == blob.size_bytes and (is_intact is None or is_intact()):
            return False
        cursor.execute("DELETE FROM blob WHERE digest = %s", (blob.digest,))
        for table in ("version_index", "fetch_cache"):
            cursor.execute(f"DELETE FROM {table} WHERE digest = %s", (blob.digest,))
        if size is not None:
            # Before the commit: after it they could be those that somebody has just brought.
            files.set_aside([blob.digest])
            files.discard([blob.digest])
    return True
