"""Which store of blobs an address means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from entrepot_gateway.content.blob_folder import BlobFolder
from entrepot_rpc.bucket_url import BucketUrl

if TYPE_CHECKING:
    from entrepot_gateway.content.blobs import Blobs


def open_blobs(url: str, previous_url: str = "", accel: str = "") -> Blobs:
    """The store at a path or a URL; what it lacks is looked for in the previous one.

    Args:
        url: The store.
        previous_url: The one before, while blobs are moved.
        accel: The path at which a proxy in front has the folder of blobs for itself, if it is one.

    Raises:
        ValueError: one of them means no store.

    """
    blobs = _open(url, "ENTREPOT_BLOBS_URL", accel)
    if not previous_url:
        return blobs
    from entrepot_gateway.content.succession import Succession  # noqa: PLC0415  while moving only

    return Succession(blobs, _open(previous_url, "ENTREPOT_BLOBS_PREVIOUS_URL"))


def _open(url: str, setting: str, accel: str = "") -> Blobs:
    bucket_url = BucketUrl.parse(url, setting)
    if bucket_url is not None:
        from entrepot_gateway.content.blob_bucket import BlobBucket  # noqa: PLC0415  as needed

        return BlobBucket(bucket_url)
    folder = Path(unquote(urlsplit(url).path) if url.startswith("file://") else url)
    return BlobFolder(folder, accel)
