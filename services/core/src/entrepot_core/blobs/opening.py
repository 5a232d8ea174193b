"""Which store an address means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from entrepot_core.blobs.directory import DirectoryBlobStore

if TYPE_CHECKING:
    from entrepot_core.blobs.blob_store import BlobStore

__all__ = ["open_blob_store"]


def open_blob_store(url: str) -> BlobStore:
    """The store at a path, or at a file: URL; ValueError for another kind of address.

    `file:///srv/blobs?reserve_bytes=0` says how much of the disk stays free.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return DirectoryBlobStore(Path(url))
    if scheme == "file":
        path, _, query = rest.partition("?")
        options = dict(parse_qsl(query, strict_parsing=True)) if query else {}
        reserve = options.pop("reserve_bytes", None)
        if options:
            raise ValueError(f"ENTREPOT_BLOBS_URL: {', '.join(options)} is not an option.")
        return DirectoryBlobStore(
            Path(unquote(path)), reserve_bytes=None if reserve is None else int(reserve)
        )
    raise ValueError(f'ENTREPOT_BLOBS_URL: "{scheme}" is not a kind of store that is known here.')
