"""Which store of blobs an address means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from entrepot_gateway.content.blob_folder import BlobFolder

if TYPE_CHECKING:
    from entrepot_gateway.content.blobs import Blobs


def open_blobs(url: str) -> Blobs | None:
    """The store at a path or a URL; None if this process cannot read such a store."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return BlobFolder(Path(unquote(parts.path)))
    return BlobFolder(Path(url)) if "://" not in url else None
