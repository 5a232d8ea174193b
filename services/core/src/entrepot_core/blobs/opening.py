"""Which store an address means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from entrepot_core.blobs.directory import DirectoryBlobStore

if TYPE_CHECKING:
    from entrepot_core.blobs.blob_store import BlobStore

__all__ = ["open_blob_store"]


def open_blob_store(url: str, *, reserve_bytes: int | None = None) -> BlobStore:
    """The store at a path or a file: URL; ValueError for another kind of address."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return DirectoryBlobStore(Path(url), reserve_bytes=reserve_bytes)
    if scheme == "file":
        return DirectoryBlobStore(Path(rest), reserve_bytes=reserve_bytes)
    raise ValueError(f'ENTREPOT_BLOBS_URL: "{scheme}" is not a kind of store that is known here.')
